package device

import "time"

// Limits of groups.
const (
	GroupsMax         = 10_000
	GroupNameBytesMax = 63
)

// Group is a selector with a name.
type Group struct {
	Name      string
	Selector  string // as it was written
	Version   int64  // grows with each change
	CreatedAt time.Time
	ChangedAt time.Time
	ChangedBy string
}
