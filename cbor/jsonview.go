package cbor

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	fx "github.com/fxamacker/cbor/v2"
)

// jsonMode takes of all items those that JSON can carry, and few others.
var jsonMode = must(jsonOptions().DecMode())

func jsonOptions() fx.DecOptions {
	o := decOptions(DepthMax)
	o.TagsMd = fx.TagsForbidden
	o.NaN, o.Inf = fx.NaNDecodeForbidden, fx.InfDecodeForbidden
	// To the library, undefined is as good as null.
	const undefined = 23
	o.SimpleValues = must(fx.NewSimpleValueRegistryFromDefaults(fx.WithRejectedSimpleValue(undefined)))
	o.DefaultMapType = nil // text keys as they are
	return o
}

// ToJSON shows the CBOR item in b as JSON. What JSON cannot carry, or what is
// no sound item, shows whole as {"$cbor": "hex"} and is not valid.
func ToJSON(b []byte) (raw json.RawMessage, valid bool) {
	var v any
	if err := jsonMode.Unmarshal(b, &v); err == nil {
		if v, ok := jsonOf(v); ok {
			return marshalJSON(v), true
		}
	}
	return marshalJSON(map[string]string{cborName: hex.EncodeToString(b)}), false
}

func marshalJSON(v any) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it is no HTML
	if err := e.Encode(v); err != nil {
		panic("cbor: " + err.Error()) // v is of texts, numbers and the like
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// jsonOf is the decoded item v as encoding/json shall show it, if JSON can.
func jsonOf(v any) (shown any, ok bool) {
	switch v := v.(type) {
	case nil, bool, string, uint64, int64:
		return v, true
	case float64:
		return jsonFloat(v), true
	case []byte:
		return map[string]string{bytesName: base64.RawURLEncoding.EncodeToString(v)}, true
	case []any:
		for i := range v {
			if v[i], ok = jsonOf(v[i]); !ok {
				return nil, false
			}
		}
		return v, true
	case map[any]any:
		object := make(map[string]any, len(v))
		for k, member := range v {
			name, ok := k.(string)
			if !ok {
				return nil, false
			}
			if object[toJSONName(name)], ok = jsonOf(member); !ok {
				return nil, false
			}
		}
		return object, true
	}
	return nil, false // a simple value, a negative integer past 64 bits
}

// jsonFloat is f written so that it reads as a float again.
func jsonFloat(f float64) json.Number {
	// Between these, a number is easier to read without an exponent.
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return json.Number(strconv.FormatFloat(f, 'e', -1, 64))
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return json.Number(text)
}
