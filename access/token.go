package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// The layout of a token, in characters. Five bits a character.
const (
	tokenPrefix   = "bh_"
	idBytes       = 5  // 2^40 ids: none twice by chance within one server
	secretBytes   = 20 // 160 bits, beyond any search
	idChars       = idBytes * 8 / 5
	secretChars   = secretBytes * 8 / 5
	checksumChars = 7 // 32 bits and three zero ones
	tokenChars    = len(tokenPrefix) + idChars + secretChars + checksumChars
)

var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ErrNoToken says that a text is no token: it is not even worth a look-up.
var ErrNoToken = errors.New("not a token of this server's kind")

// NewToken makes a token. It is shown once, to whom it is for.
func NewToken() string {
	var random [idBytes + secretBytes]byte
	_, _ = rand.Read(random[:]) // it never fails; the process ends if the system has no randomness
	body := alphabet.EncodeToString(random[:idBytes]) + alphabet.EncodeToString(random[idBytes:])
	return tokenPrefix + body + checksum(body)
}

// Token is what is kept of a token: enough to recognise it, not to use it.
type Token struct {
	ID   string
	Hash [sha256.Size]byte // of the secret
}

// ParseToken takes a token apart. ErrNoToken: it has another form, or its
// checksum is wrong.
func ParseToken(text string) (Token, error) {
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(text) != tokenChars {
		return Token{}, ErrNoToken
	}
	body, sum := body[:idChars+secretChars], body[idChars+secretChars:]
	if sum != checksum(body) {
		return Token{}, ErrNoToken
	}
	// Written again, because the decoder overlooks line breaks.
	if b, err := alphabet.DecodeString(body); err != nil || alphabet.EncodeToString(b) != body {
		return Token{}, ErrNoToken
	}
	return Token{ID: body[:idChars], Hash: sha256.Sum256([]byte(body[idChars:]))}, nil
}

// A provider's token begins like every JSON object in base64, and is longer than
// the names that may stand in a path.
const (
	jwtPrefix   = "eyJ"
	jwtCharsMin = 64
)

// Masked is text for the log: of what begins like a token only the id is left,
// also of one that was cut short or misspelt, and of an identity provider's
// nothing.
func Masked(text string) string {
	text = masked(text, tokenPrefix, alphanumeric, idChars, idChars)
	return masked(text, jwtPrefix, ofJWT, jwtCharsMin-len(jwtPrefix)-1, 0)
}

// masked leaves, of the characters of a kind that are behind a prefix, so many,
// where there are more than may be.
func masked(text, prefix string, kind func(byte) bool, may, left int) string {
	from := 0
	for {
		at := strings.Index(text[from:], prefix)
		if at < 0 {
			return text
		}
		from += at + len(prefix)
		run := from
		for run < len(text) && kind(text[run]) {
			run++
		}
		if run-from > may {
			text = text[:from+left] + "..." + text[run:]
			from += left
		}
	}
}

func ofJWT(c byte) bool { return alphanumeric(c) || c == '.' || c == '-' || c == '_' }

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func checksum(body string) string {
	return alphabet.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}
