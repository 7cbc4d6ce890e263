package device

// PageMax bounds one page of devices.
const PageMax = 500

// Filter picks devices in the order of their names. The zero value picks all.
type Filter struct {
	Label map[string]string // all of them
	After string            // only names after this one
	Limit int               // at most PageMax

	// Sees picks by labels too, if it is there: what the reader may see, or a
	// selector asks for.
	Sees func(labels map[string]string) bool
}

// View is a device as a reader sees it.
type View struct {
	Device
	Open int // executions of its that have not ended
}

// Edit is what an operator changes about a device; nil leaves it as it is.
type Edit struct {
	Labels            map[string]string
	AckTimeoutSeconds *float64
	AwakeSeconds      *int
	Version           int64 // If-Match; 0: whatever it is
}
