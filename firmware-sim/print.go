package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"behest/firmware-sim/device"
	"behest/firmware-sim/wire"
)

// printer writes events as lines, for people or for scripts.
type printer struct {
	out  io.Writer
	json bool
}

func newPrinter(out io.Writer, asJSON bool) *printer { return &printer{out: out, json: asJSON} }

// entry is a line of an open list.
type entry struct {
	Seq     uint32          `json:"seq"`
	Cancel  bool            `json:"cancel,omitempty"`
	Type    string          `json:"type,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Seconds uint64          `json:"seconds_left"`
	Fresh   bool            `json:"fresh,omitempty"`
}

// line is an event as JSON. Absent is empty.
type line struct {
	Time    time.Time       `json:"time"`
	Device  string          `json:"device"`
	Event   string          `json:"event"`
	Seq     uint32          `json:"seq,omitempty"`
	Type    string          `json:"type,omitempty"`
	Status  string          `json:"status,omitempty"`
	Percent *uint8          `json:"progress,omitempty"`
	Number  *int64          `json:"code,omitempty"`
	Text    string          `json:"text,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Answer  string          `json:"answer,omitempty"`
	List    *[]entry        `json:"list,omitempty"` // of listed; it may be empty
	Note    string          `json:"note,omitempty"`
}

// event prints one event. A reader that went away is no reason for a device to
// stop, so errors are dropped.
func (p *printer) event(e device.Event) {
	l := line{
		Time: e.At, Device: e.Device, Event: string(e.Kind), Seq: e.Seq, Type: e.Type, Answer: e.Code, Note: e.Text,
	}
	if r := e.Report; r != nil {
		l.Status, l.Percent, l.Number, l.Text = r.Status.String(), r.Progress, r.Code, r.Text
		if r.Result != nil {
			l.Result = json.RawMessage(wire.ToJSON(r.Result))
		}
	}
	if e.Kind == device.Listed {
		l.List = new(entries(e.List))
	}
	p.print(l)
}

func entries(list []wire.Entry) []entry {
	shown := make([]entry, 0, len(list))
	for _, e := range list {
		s := entry{Seq: e.Seq, Cancel: e.Cancel, Type: e.Name(), Seconds: e.Seconds, Fresh: e.Fresh}
		if e.Params != nil {
			s.Params = json.RawMessage(wire.ToJSON(e.Params))
		}
		shown = append(shown, s)
	}
	return shown
}

// stopped prints the last line of a device that was not cut off.
func (p *printer) stopped(c config, signal bool, effects map[uint32]int) {
	why := "commands done"
	if signal {
		why = "signal"
	}
	total := 0
	for _, n := range effects {
		total += n
	}
	p.print(line{
		Time: time.Now(), Device: c.device.Name, Event: "stopped",
		Note: fmt.Sprintf("%s, the registration is left to lapse, %d effects on %d commands so far", why, total, len(effects)),
	})
}

func (p *printer) print(l line) {
	if p.json {
		encoded, err := json.Marshal(l)
		if err != nil {
			encoded = fmt.Appendf(nil, `{"event":%q,"note":%q}`, l.Event, err.Error())
		}
		_, _ = p.out.Write(append(encoded, '\n'))
		return
	}
	_, _ = fmt.Fprintln(p.out, l)
}

// String is the line for people.
func (l line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %-10s", l.Time.Format("15:04:05.000"), l.Device, l.Event)
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
	}
	if l.Seq != 0 {
		add("seq", fmt.Sprint(l.Seq))
	}
	add("type", l.Type)
	add("status", l.Status)
	if l.Percent != nil {
		add("progress", fmt.Sprintf("%d%%", *l.Percent))
	}
	if l.Number != nil {
		add("code", fmt.Sprint(*l.Number))
	}
	if l.Text != "" {
		add("text", fmt.Sprintf("%q", l.Text))
	}
	add("result", short(string(l.Result)))
	add("answer", l.Answer)
	if l.List != nil {
		b.WriteString(" " + listed(*l.List))
	}
	if l.Note != "" {
		b.WriteString(" " + l.Note)
	}
	return strings.TrimRight(b.String(), " ")
}

// listed is an open list for people.
func listed(list []entry) string {
	if len(list) == 0 {
		return "nothing to do"
	}
	var parts []string
	for _, e := range list {
		part := fmt.Sprintf("%d %s", e.Seq, e.Type)
		if e.Params != nil {
			part += " " + short(string(e.Params))
		}
		if e.Cancel {
			part += "cancel"
		} else {
			part += fmt.Sprintf(" %ds", e.Seconds)
		}
		if e.Fresh {
			part += " fresh"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// shownMax is how much of a value fits on a line with the rest of it.
const shownMax = 80

func short(s string) string {
	if len(s) <= shownMax {
		return s
	}
	return fmt.Sprintf("%.*s... (%d bytes)", shownMax, s, len(s))
}
