package command

import (
	"encoding/json"
	"time"
)

// Intent is what an operator asks for, checked for shape, before it is a
// command.
type Intent struct {
	Type              string
	Params            json.RawMessage // as they were asked for; nil: none
	Targets           Targets
	NotBefore         time.Time
	DeliverWithin     time.Duration // 0: the type's
	RunFor            time.Duration // 0: the type's
	Labels            map[string]string
	Reason            string
	RequestedBy       string
	ExpectTargets     *int // how many devices it must come to
	AllowUnregistered bool // devices that are not known yet may be among them
	Rollout           *Rollout
}

// Refusal is a target that a command over many devices could not have.
type Refusal struct {
	Device string
	Code   Code
}

// Issued is what became of an intent.
type Issued struct {
	View
	Refused []Refusal
}

// Claim is a request's claim to be answered once: whoever asks again under the
// same key gets the same answer, and nothing is done twice.
type Claim struct {
	Key     [32]byte // of the user, the route and the key that the client chose
	Request [32]byte // digest of what is asked
}
