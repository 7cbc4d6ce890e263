package dispatch

import (
	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// claimed finds the device that somebody names and speaks for. Over a session
// that is the device itself, and whether there is another is not said.
func claimed(name string, by device.Speaker, find finder) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		if err := refused(by.Names(name)); err != nil {
			return device.Device{}, err
		}
		return spoken(by, find)(tx)
	}
}

// spoken finds a device for somebody who speaks for it.
func spoken(by device.Speaker, find finder) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := find(tx)
		if err == nil {
			err = refused(by.Speaks(&dev))
		}
		return dev, err
	}
}

// refused is the refusal of who may not speak.
func refused(r device.Right) error {
	switch r {
	case device.Another:
		return command.Errorf(command.CodeForbidden, "that is another device")
	case device.Nobody:
		return command.Errorf(command.CodeUnauthenticated, "this device speaks over DTLS")
	}
	return nil
}

// twins tells that an observer which was replaced is still there, beside the one
// in its place: see device.Device.Twin. It is told once for each replacement.
func (v *visit) twins(from device.Speaker, token []byte) error {
	if !v.dev.Twin(from, token) {
		return nil
	}
	v.dev.Replaced, v.dirty = device.Replaced{}, true
	facts := map[string]any{"address": from.Remote.String()}
	if o := v.dev.Observation; o.Remote.IsValid() {
		facts["observing"] = o.Remote.String()
	}
	return v.logDevice(command.EventTwoDevices, "", facts)
}
