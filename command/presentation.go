package command

// Presentation is a device's open list at one moment, with what its presenter
// needs to know of that moment.
type Presentation struct {
	Generation uint64  // grows in commit order; one older than the last seen is void
	List       []Entry // ascending seq
	Waiting    bool    // more is released as soon as a notification can leave
	Revived    bool    // the device was out of sight and is heard of again: tell it, whatever it has seen
	Reported   uint32  // a seq that it just reported on, so it has the list that carried it; 0: none
}

// Arrival is what became of an exchange that carried an open list.
type Arrival struct {
	Carried  []Carried
	Attempts int // transmissions
	Outcome  Delivery
}

// Carried is an entry of a list that was transmitted.
type Carried struct {
	Seq    uint32
	Cancel bool
}

// Delivery is how an exchange with a device ended.
type Delivery uint8

const (
	DeliveryAcked  Delivery = iota // the device has the list
	DeliveryReset                  // it does not observe there any more
	DeliverySilent                 // nobody answered
)
