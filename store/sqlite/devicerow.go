package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"behest/device"
)

// deviceColumns are the columns of a device after its handle, in the order of
// deviceValues.
const deviceColumns = olderDeviceColumns + `, ` + sessionColumns + `, was_token`

const sessionColumns = `session, secured, was_remote, was_session`

// olderDeviceColumns are those that there were before sessionsSchema.
const olderDeviceColumns = `name, version, last_seq, reported_seq, seen_at, registered_at, lifetime, win,
	observed_at, remote, local, token, block_size, suspended, ack_timeout, awake, created_at, removed_at, labels, params, links`

const (
	sessionsSchema = 11 // with sessionColumns
	wasTokenSchema = 17
)

const deviceColumnCount = 26

// deviceValues are what the columns hold of d. What is zero is NULL.
func deviceValues(d *device.Device) ([]driver.Value, error) {
	labels, err := jsonOf(d.Labels)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	params, err := jsonOf(d.Registration.Params)
	if err != nil {
		return nil, fmt.Errorf("registration parameters: %w", err)
	}
	remote, err := d.Observation.Remote.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	local, err := d.Observation.Local.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	was, err := d.Replaced.Remote.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("replaced: %w", err)
	}
	r, o := &d.Registration, &d.Observation
	return []driver.Value{
		d.Name, d.Version, int64(d.LastSeq), int64(d.ReportedSeq), timeOrNull(d.SeenAt),
		timeOrNull(r.At), orNull(r.Lifetime.Milliseconds()), orNull(int64(r.Window)),
		timeOrNull(o.At), bytesOrNull(remote, !o.Remote.IsValid()), bytesOrNull(local, !o.Local.IsValid()),
		bytesOrNull(o.Token, o.Token == nil), orNull(int64(o.BlockSize)), boolOrNull(o.Suspended),
		orNull(d.AckTimeout.Milliseconds()), orNull(d.Awake.Milliseconds()), timeOrNull(d.CreatedAt), timeOrNull(d.RemovedAt),
		textOrNull(labels), textOrNull(params), textOrNull(r.Links),
		orNull(int64(o.Session)), boolOrNull(r.Secured), bytesOrNull(was, !d.Replaced.Remote.IsValid()), orNull(int64(d.Replaced.Session)),
		bytesOrNull(d.Replaced.Token, d.Replaced.Token == nil),
	}, nil
}

// readDevice reads the handle and the columns after it.
func readDevice(r row) (device.Device, error) {
	d := device.Device{
		Handle: r.int(0), Name: r.text(1), Version: r.int(2),
		LastSeq: uint32(r.int(3)), ReportedSeq: uint32(r.int(4)), SeenAt: timeAt(r, 5),
		Registration: device.Registration{
			At: timeAt(r, 6), Lifetime: duration(r.int(7)), Window: int(r.int(8)), Links: r.text(21), Secured: r.int(23) != 0,
		},
		Observation: device.Observation{
			At: timeAt(r, 9), Endpoint: device.Endpoint{Session: uint32(r.int(22))}, Token: r.bytes(12), BlockSize: int(r.int(13)), Suspended: r.int(14) != 0,
		},
		Replaced:   device.Replaced{Endpoint: device.Endpoint{Session: uint32(r.int(25))}, Token: r.bytes(26)},
		AckTimeout: duration(r.int(15)), Awake: duration(r.int(16)), CreatedAt: timeAt(r, 17), RemovedAt: timeAt(r, 18),
	}
	var err error
	if !r.null(10) {
		err = d.Observation.Remote.UnmarshalBinary(r.bytes(10))
	}
	if err == nil && !r.null(24) {
		err = d.Replaced.Remote.UnmarshalBinary(r.bytes(24))
	}
	if err == nil && !r.null(11) {
		err = d.Observation.Local.UnmarshalBinary(r.bytes(11))
	}
	if err == nil {
		d.Labels, err = mapOf(r.text(19))
	}
	if err == nil {
		d.Registration.Params, err = mapOf(r.text(20))
	}
	if err != nil {
		return device.Device{}, fmt.Errorf("device %d: %w", d.Handle, err)
	}
	return d, nil
}

// The smallest of a row's columns is NULL.

func orNull(v int64) driver.Value {
	if v == 0 {
		return nil
	}
	return v
}

func boolOrNull(v bool) driver.Value {
	if !v {
		return nil
	}
	return int64(1)
}

func textOrNull(v string) driver.Value {
	if v == "" {
		return nil
	}
	return v
}

func bytesOrNull(v []byte, null bool) driver.Value {
	if null {
		return nil
	}
	if v == nil {
		v = []byte{}
	}
	return v
}

func timeOrNull(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func timeAt(r row, i int) time.Time {
	if r.null(i) {
		return time.Time{}
	}
	return fromMillis(r.int(i))
}

// jsonOf is a map as JSON, or nothing.
func jsonOf(m map[string]string) (string, error) {
	if len(m) == 0 {
		return "", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func mapOf(text string) (m map[string]string, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &m)
	}
	return m, err
}
