package operator

import (
	"encoding/json"
	"time"
)

// Intent is what is asked for.
type Intent struct {
	Type    string          `json:"type"`
	Params  json.RawMessage `json:"params,omitempty"`
	Targets Targets         `json:"targets"`
	Rollout json.RawMessage `json:"rollout,omitempty"`
}

// Targets are the devices of an intent or a command, by name.
type Targets struct {
	Devices []string `json:"devices,omitempty"`
	All     bool     `json:"all,omitempty"`
}

// Result is what became of one command of a batch.
type Result struct {
	Index   int
	Command *Command
	Problem *Refusal
}

// Command is a command, as far as these programs look at it.
type Command struct {
	ID      string
	Type    string
	Params  json.RawMessage
	Targets Targets
	State   string
	Outcome string // "": it is open
	Effect  string
	Counts  map[string]int
	Pending int // devices of it that are not written out yet

	DeviceCount int `json:"device_count"`
	Execution   *Execution
}

// Execution is a command on one device.
type Execution struct {
	Command   string
	Device    string
	Seq       uint32 // 0: it was never sent
	State     string
	Effect    string
	Cause     string
	Result    json.RawMessage
	SentAt    *time.Time `json:"sent_at"`
	StartedAt *time.Time `json:"started_at"`
	Reports   []struct{ Status string }
}

// Device is what the server knows of a device.
type Device struct {
	ID           string
	Registration *struct {
		Lifetime int64 `json:"lifetime_seconds"`
	}
	Observation *struct{ Remote string }
}
