package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Limits of what a type may ask of approvals, and of what approvers may say.
const (
	ApproversMax    = 10 // distinct people; more never meet
	ConditionsMax   = 16
	RuleGroupsMax   = 16
	CommentBytesMax = 1 << 10
)

// ApproverRole is the role that decides where a rule names none.
const ApproverRole = "approver"

// ApprovalRule is what a type says about who must agree before a byte of its
// commands reaches the wire. With conditions or groups, it is asked for when
// any of them applies; without, always.
type ApprovalRule struct {
	Approvers int         `json:"approvers"`
	Role      string      `json:"role,omitempty"` // empty: ApproverRole
	When      []Condition `json:"when,omitempty"`
	Groups    []string    `json:"groups,omitempty"` // any target in any of them
}

// Condition is a test on one of a command's params.
type Condition struct {
	Pointer string          `json:"pointer"`
	Above   *float64        `json:"above,omitempty"`
	Below   *float64        `json:"below,omitempty"`
	Equals  json.RawMessage `json:"equals,omitempty"`
}

// Holds reports whether params meet the condition. What is not there, or is
// no number where one is compared, meets it: who is in doubt asks.
func (c Condition) Holds(params json.RawMessage) bool {
	at, ok := Pointed(params, c.Pointer)
	if !ok {
		return true
	}
	if c.Equals != nil {
		return sameJSON(at, c.Equals)
	}
	n, ok := numberIn(at)
	if !ok {
		return true
	}
	than := func(f float64) int { return n.Cmp(new(big.Rat).SetFloat64(f)) } // a bound comes from JSON: it is finite
	return c.Above != nil && than(*c.Above) > 0 || c.Below != nil && than(*c.Below) < 0
}

// numberIn is a JSON number as it is written: no integer is rounded to a float.
// Params have been held against what CBOR carries, so that it is within bounds.
func numberIn(raw json.RawMessage) (*big.Rat, bool) {
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil || len(raw) == 0 || raw[0] == '"' {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// Asks reports whether a command with these params needs the approval, as far
// as that depends on params. member reports whether any target is in a group.
func (r *ApprovalRule) Asks(params json.RawMessage, member func(group string) bool) bool {
	if r == nil {
		return false
	}
	if len(r.When) == 0 && len(r.Groups) == 0 {
		return true
	}
	for _, c := range r.When {
		if c.Holds(params) {
			return true
		}
	}
	for _, g := range r.Groups {
		if member(g) {
			return true
		}
	}
	return false
}

// Demand is the approval that one command needs, frozen when it was issued.
type Demand struct {
	Approvers int    `json:"approvers"`
	Role      string `json:"role"`
	Solo      bool   `json:"solo,omitempty"` // its requester may be among them
}

// Decision is one person's word on a command.
type Decision struct {
	User    string
	Approve bool
	Comment string
	At      time.Time
	Digest  [32]byte // of what was decided on
}

// Met reports whether the decisions are enough to let the command go.
func (d *Demand) Met(decisions []Decision) bool {
	n := 0
	for _, one := range decisions {
		if one.Approve {
			n++
		}
	}
	return n >= d.Approvers
}

func (r *ApprovalRule) check(fault func(pointer, format string, args ...any)) {
	if r == nil {
		return
	}
	if r.Approvers < 1 || r.Approvers > ApproversMax {
		fault("/approval/approvers", "is not between 1 and %d", ApproversMax)
	}
	if r.Role != "" && r.Role != ApproverRole && r.Role != "admin" {
		fault("/approval/role", "is neither %s nor admin", ApproverRole)
	}
	if len(r.When) > ConditionsMax {
		fault("/approval/when", "are %d conditions; at most %d are allowed", len(r.When), ConditionsMax)
	}
	if len(r.Groups) > RuleGroupsMax {
		fault("/approval/groups", "are %d groups; at most %d are allowed", len(r.Groups), RuleGroupsMax)
	}
	for i, c := range r.When {
		at := fmt.Sprintf("/approval/when/%d", i)
		if !isPointer(c.Pointer) {
			fault(at+"/pointer", "%.64q is no JSON pointer to a param", c.Pointer)
		}
		said := 0
		for _, is := range []bool{c.Above != nil, c.Below != nil, c.Equals != nil} {
			if is {
				said++
			}
		}
		if said != 1 {
			fault(at, "says %d of above, below and equals; one is needed", said)
		}
	}
}

// isPointer reports whether s is a JSON pointer to something inside [RFC 6901].
func isPointer(s string) bool { return strings.HasPrefix(s, "/") }

// Pointed is what a JSON pointer points to in raw.
func Pointed(raw json.RawMessage, pointer string) (json.RawMessage, bool) {
	if pointer == "" {
		return raw, len(raw) > 0
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		raw = bytes.TrimLeft(raw, " \t\r\n")
		switch {
		case len(raw) > 0 && raw[0] == '{':
			var m map[string]json.RawMessage
			if json.Unmarshal(raw, &m) != nil {
				return nil, false
			}
			next, ok := m[token]
			if !ok {
				return nil, false
			}
			raw = next
		case len(raw) > 0 && raw[0] == '[':
			var list []json.RawMessage
			var i int
			if json.Unmarshal(raw, &list) != nil || !arrayIndex(token, len(list), &i) {
				return nil, false
			}
			raw = list[i]
		default:
			return nil, false
		}
	}
	return raw, true
}

// arrayIndex reads an index without a leading zero [RFC 6901 4].
func arrayIndex(token string, n int, i *int) bool {
	if token == "" || len(token) > 1 && token[0] == '0' {
		return false
	}
	at := 0
	for _, c := range []byte(token) {
		if c < '0' || c > '9' || at >= n {
			return false
		}
		at = at*10 + int(c-'0')
	}
	*i = at
	return at < n
}

// sameJSON reports whether two texts say the same value.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x) // maps come out with their keys sorted
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
