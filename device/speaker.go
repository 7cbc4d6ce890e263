package device

import (
	"bytes"
	"net/netip"
)

// Endpoint is where a device speaks from. Two are the same if they are equal.
type Endpoint struct {
	Remote  netip.AddrPort // of a session: where its handshake came from
	Session uint32         // of DTLS, the same wherever the device moves to; 0: plain UDP
}

// Speaker is who says something to the server.
type Speaker struct {
	Endpoint
	Identity string // whom a session has shown to be: a device's name; empty over plain UDP
}

// Right is what a speaker may say in a device's name.
type Right uint8

const (
	Its     Right = iota // the device's own word, as far as one can know
	Another              // of somebody who has shown to be another
	Nobody               // of somebody who has not shown who he is, and has to
)

// Names says whether s may speak of a device with this name at all: over a
// session only of itself, whether there is another or not.
func (s Speaker) Names(name string) Right {
	switch {
	case s.Session != 0 && s.Identity == "":
		return Nobody
	case s.Session != 0 && s.Identity != name:
		return Another
	}
	return Its
}

// Speaks says whether s may speak for d. A device that registered over a
// session is spoken for over sessions alone.
func (s Speaker) Speaks(d *Device) Right {
	if s.Session == 0 && d.Registration.Secured {
		return Nobody
	}
	return s.Names(d.Name)
}

// Twin reports whether from is another one than who observes now, though it goes
// by the same name. A session that was replaced is done with, for a device that
// has one at a time: whoever speaks over it says so. A plain address says nothing,
// for a device may go from one to another and back; but it takes its observation
// along, or makes another. Who comes back with the one that was replaced, while
// there is another and somebody was heard of there, has had it all the time.
// token is that of who observes; nil: he says something else.
func (d *Device) Twin(from Speaker, token []byte) bool {
	was, is := d.Replaced, d.Observation
	if !was.Remote.IsValid() || was.Endpoint != from.Endpoint {
		return false
	}
	if from.Session != 0 {
		return true
	}
	back := token != nil && bytes.Equal(token, was.Token)
	return back && d.Observing() && !is.Suspended && !bytes.Equal(token, is.Token)
}
