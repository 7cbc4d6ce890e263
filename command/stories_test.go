package command

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStories plays the lives in testdata/stories: lines of a small script,
// each followed by the execution as it is then, indented. What follows is
// compared, and rewritten by -update.
//
//	# a remark
//	issue [held] [KEY=VALUE ...]      clocks (run_for=1h), fresh, once, not_before=2h
//	wait 40s                          lets time pass
//	lapse                             waits for the clock that runs, and lapses it
//	report running [KEY=VALUE ...]    progress, code, next, n, effect, text, prev
//	anything else                     a kind of trigger by its name, and a cause
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, play(t, string(text)), file)
		})
	}
}

// play runs a script and answers with it, the outputs afresh.
func play(t *testing.T, script string) string {
	var b strings.Builder
	s := &stage{now: epoch}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // an output of the last time
		}
		b.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verdict, err := s.line(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for out := range strings.Lines(s.show(verdict)) {
			b.WriteString("    " + strings.TrimRight(out, " \n") + "\n")
		}
	}
	return b.String()
}

// stage is where a story is played.
type stage struct {
	x   Execution
	now time.Time
}

func (s *stage) line(line string) (string, error) {
	words := strings.Fields(line)
	if s.x.Command == nil && words[0] != "issue" {
		return "", fmt.Errorf("nothing was issued")
	}
	switch words[0] {
	case "issue":
		return "issued", s.issue(words[1:])
	case "wait":
		d, err := time.ParseDuration(words[1])
		s.now = s.now.Add(d)
		return "waited", err
	case "lapse":
		when, k := s.x.Deadline()
		if when.IsZero() {
			return "", fmt.Errorf("no clock runs")
		}
		s.now = later(s.now, when)
		return s.step(sample(k), k.String()), nil
	case "report":
		r, err := parseReport(words[1:])
		if err != nil {
			return "", err
		}
		return s.step(Reported(r, s.x.State), "report"), nil
	}
	for _, k := range Kinds {
		rest, ok := strings.CutPrefix(line+" ", k.String()+" ")
		if !ok || k == Ack && strings.HasPrefix(line, AckCancel.String()) {
			continue
		}
		tr := sample(k)
		for c := NeverRegistered; c < causeEnd; c++ {
			if strings.TrimSpace(rest) == c.String() {
				tr.Cause = c
			}
		}
		return s.step(tr, k.String()), nil
	}
	return "", fmt.Errorf("nobody knows what that means")
}

func (s *stage) step(tr Trigger, name string) string {
	x, v := s.x.Step(tr, s.now)
	s.x = x
	return name + ": " + v.String()
}

func (s *stage) issue(words []string) error {
	c := &Command{N: 1, Type: "pump.start", Clocks: DefaultClocks, CreatedAt: s.now}
	s.x = Execution{Command: c, N: 1, Device: 1, Name: "pump-7", State: Queued, QueuedAt: s.now}
	clocks := map[string]*time.Duration{
		"approve_within": &c.Clocks.ApproveWithin, "use_within": &c.Clocks.UseWithin, "hold_within": &c.Clocks.HoldWithin,
		"deliver_within": &c.Clocks.DeliverWithin, "run_for": &c.Clocks.RunFor, "report_every": &c.Clocks.ReportEvery,
		"cancel_for": &c.Clocks.CancelFor, "settle_for": &c.Clocks.SettleFor,
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case w == "held":
			s.x.State, s.x.QueuedAt = AwaitingApproval, time.Time{}
		case w == "fresh":
			c.Policy.Fresh = true
		case w == "once":
			c.Policy.Redelivery = Once
		default:
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			if key == "not_before" {
				c.NotBefore = s.now.Add(d)
				s.x.State, s.x.QueuedAt = Scheduled, time.Time{}
			} else if clocks[key] == nil {
				return fmt.Errorf("no clock is called %q", key)
			} else {
				*clocks[key] = d
			}
		}
	}
	return nil
}

func parseReport(words []string) (Report, error) {
	status := slices.Index(statusNames[:], words[0])
	if status < 0 {
		return Report{}, fmt.Errorf("no status is called %q", words[0])
	}
	r := Report{Status: Status(status)}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch key {
		case "progress":
			r.Progress = ptr(uint8(n))
		case "code":
			r.Code = ptr(n)
		case "n":
			r.N = ptr(uint32(n))
		case "next":
			r.Next, err = time.ParseDuration(value)
		case "text":
			r.Text, err = value, nil
		case "prev":
			r.Prev, err = []byte(value), nil
		case "effect":
			e := slices.Index(effectNames[:], value)
			if err = nil; e < 0 {
				err = fmt.Errorf("no effect is called %q", value)
			}
			r.Effect = ptr(Effect(max(0, e)))
		default:
			err = fmt.Errorf("a report has no %q", key)
		}
		if err != nil {
			return Report{}, err
		}
	}
	return r, nil
}

// show is the whole execution, what is zero left out.
func (s *stage) show(verdict string) string {
	x := s.x
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", s.at(s.now), verdict)
	if verdict == "waited" {
		return b.String()
	}
	fmt.Fprintf(&b, "  %s, effect %s", x.State, x.Effect)
	for _, part := range []struct {
		yes  bool
		text string
	}{
		{x.Cause != NoCause, "cause " + x.Cause.String()}, {x.Late, "late"}, {x.Settled, "settled"},
		{x.Seq != 0, fmt.Sprintf("seq %d", x.Seq)}, {x.Attempts != 0, fmt.Sprintf("attempts %d", x.Attempts)},
	} {
		if part.yes {
			b.WriteString(", " + part.text)
		}
	}
	b.WriteString("\n ")
	for _, m := range []struct {
		name string
		when time.Time
	}{
		{"approved", x.ApprovedAt}, {"queued", x.QueuedAt}, {"sent", x.SentAt}, {"delivered", x.DeliveredAt}, {"started", x.StartedAt},
		{"reported", x.ReportedAt}, {"cancel acked", x.CancelAckedAt}, {"ended", x.EndedAt},
	} {
		if !m.when.IsZero() {
			fmt.Fprintf(&b, " %s %s,", m.name, s.at(m.when))
		}
	}
	shown := strings.TrimRight(b.String(), ", \n")
	if !x.ReportedAt.IsZero() {
		shown += "\n  last report: " + reportText(x.Last)
	}
	if when, k := x.Deadline(); !when.IsZero() {
		shown += fmt.Sprintf("\n  next: %s, %s", k, s.at(when))
	} else {
		shown += "\n  next: nothing, it is closed"
	}
	return shown
}

func reportText(r Report) string {
	text := r.Status.String()
	if r.Progress != nil {
		text += fmt.Sprintf(", progress %d%%", *r.Progress)
	}
	if r.Code != nil {
		text += fmt.Sprintf(", code %d", *r.Code)
	}
	if r.Text != "" {
		text += ", " + r.Text
	}
	if r.Effect != nil {
		text += ", effect " + r.Effect.String()
	}
	if r.Next != 0 {
		text += ", next " + r.Next.String()
	}
	if r.Prev != nil {
		text += ", prev " + string(r.Prev)
	}
	if r.N != nil {
		text += fmt.Sprintf(", n %d", *r.N)
	}
	return text
}

// at is a moment as the time since the beginning of the story.
func (s *stage) at(when time.Time) string { return "+" + when.Sub(epoch).String() }
