package device

import (
	"testing"
	"time"

	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestEveryRule goes through section 4.4 of the contract, rule by rule.
func TestEveryRule(t *testing.T) {
	command := func(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Type: "a", Seconds: 10} }
	cancel := func(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Cancel: true} }
	late := func(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Type: "a", Seconds: 5} }
	zero := func(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Type: "a"} }
	busy := func(seq uint32) wire.Entry { return wire.Entry{Seq: seq, Type: "busy", Seconds: 10} }
	concluded := storage.Memory{Last: 7}.With(7, []byte{0xa1, 1, 1})

	rows := []struct {
		name    string
		memory  storage.Memory
		working []uint32
		list    []wire.Entry
		want    []Action
	}{
		{"nothing to do", storage.Memory{Last: 7}, nil, nil, nil},
		{"1: at work on it: go on", storage.Memory{Last: 7}, []uint32{7}, []wire.Entry{command(7)}, nil},
		{"1: at work on it, out of time meanwhile: go on", storage.Memory{Last: 7}, []uint32{7}, []wire.Entry{zero(7)}, nil},
		{"1: at work on it, a cancel: stop", storage.Memory{Last: 7}, []uint32{7}, []wire.Entry{cancel(7)}, []Action{{Stop, cancel(7)}}},
		{"1: outcome stored: repeat it", concluded, nil, []wire.Entry{command(7)}, []Action{{Repeat, command(7)}}},
		{"1: outcome stored, a cancel: repeat it", concluded, nil, []wire.Entry{cancel(7)}, []Action{{Repeat, cancel(7)}}},
		{"1: outcome stored, out of time: repeat it", concluded, nil, []wire.Entry{zero(7)}, []Action{{Repeat, zero(7)}}},
		{"1: last, and nothing known: interrupted", storage.Memory{Last: 7}, nil, []wire.Entry{command(7)}, []Action{{Interrupt, command(7)}}},
		{"1: below last, and nothing known: interrupted", concluded, nil, []wire.Entry{command(6)}, []Action{{Interrupt, command(6)}}},
		{"1: a cancel, and nothing known: interrupted", storage.Memory{Last: 7}, nil, []wire.Entry{cancel(7)}, []Action{{Interrupt, cancel(7)}}},
		{"2: a cancel of what was never seen: forgo", storage.Memory{Last: 7}, nil, []wire.Entry{cancel(8)}, []Action{{Forgo, cancel(8)}}},
		{"3: seconds passed since receipt: expire", storage.Memory{Last: 7}, nil, []wire.Entry{late(8)}, []Action{{Expire, late(8)}}},
		{"3: no seconds left: expire", storage.Memory{}, nil, []wire.Entry{zero(8)}, []Action{{Expire, zero(8)}}},
		{"4: cannot start now: leave it and all higher ones", storage.Memory{Last: 7}, nil,
			[]wire.Entry{busy(8), command(9), cancel(10), zero(11)}, nil},
		{"4: lower ones start before one that cannot", storage.Memory{Last: 7}, nil,
			[]wire.Entry{command(8), busy(9), command(10)}, []Action{{Start, command(8)}}},
		{"5: start", storage.Memory{Last: 7}, nil, []wire.Entry{command(8)}, []Action{{Start, command(8)}}},
		{"the first command ever: start", storage.Memory{}, nil, []wire.Entry{command(1)}, []Action{{Start, command(1)}}},
		{"all rules in ascending seq", concluded, []uint32{5},
			[]wire.Entry{command(4), cancel(5), command(7), cancel(8), late(9), command(10), command(11), busy(12), command(13)},
			[]Action{
				{Interrupt, command(4)}, {Stop, cancel(5)}, {Repeat, command(7)}, {Forgo, cancel(8)},
				{Expire, late(9)}, {Start, command(10)}, {Start, command(11)},
			}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			working := map[uint32]bool{}
			for _, seq := range row.working {
				working[seq] = true
			}
			got := Decide(List{Entries: row.list, Received: noon.Add(-5 * time.Second)}, Situation{
				Memory:  row.memory,
				Working: func(seq uint32) bool { return working[seq] },
				Ready:   func(e wire.Entry) bool { return e.Type != "busy" },
				Now:     noon,
			})
			if diff := cmp.Diff(got, row.want); diff != "" {
				t.Errorf("actions (-got +want):\n%s", diff)
			}
		})
	}
}

func TestSecondsCountFromReceipt(t *testing.T) {
	list := List{Entries: []wire.Entry{{Seq: 1, Type: "a", Seconds: 5}}, Received: noon}
	for after, want := range map[time.Duration]Move{
		0: Start, 5*time.Second - 1: Start, 5 * time.Second: Expire, time.Hour: Expire,
	} {
		got := Decide(list, Situation{
			Working: func(uint32) bool { return false }, Ready: func(wire.Entry) bool { return true }, Now: noon.Add(after),
		})
		if diff := cmp.Diff(got, []Action{{want, list.Entries[0]}}); diff != "" {
			t.Errorf("%v after receipt (-got +want):\n%s", after, diff)
		}
	}
}

// TestNoListMakesADeviceGoBack tries lists of every shape up to three entries:
// whatever they hold, nothing at or below last is started or forgone, and what
// moves last comes in ascending seq.
func TestNoListMakesADeviceGoBack(t *testing.T) {
	kinds := []wire.Entry{{Type: "a", Seconds: 10}, {Type: "a"}, {Type: "busy", Seconds: 10}, {Cancel: true}}
	cases := 0
	for shape := range 1 << 9 {
		var list []wire.Entry
		for i := range uint32(3) {
			e := kinds[shape>>(3*i)&3]
			e.Seq = 5 + 2*i + uint32(shape>>(3*i)>>2&1)
			list = append(list, e)
		}
		for last := range uint32(12) {
			highest := last
			for _, a := range Decide(List{Entries: list, Received: noon}, Situation{
				Memory: storage.Memory{Last: last}, Working: func(seq uint32) bool { return seq == 7 },
				Ready: func(e wire.Entry) bool { return e.Type != "busy" }, Now: noon,
			}) {
				switch a.Move {
				case Start, Forgo, Expire:
					if a.Entry.Seq <= highest {
						t.Fatalf("last %d, list %+v: %v of %d after %d", last, list, a.Move, a.Entry.Seq, highest)
					}
					highest = a.Entry.Seq
				default:
					if a.Entry.Seq > last {
						t.Fatalf("last %d, list %+v: %v of %d", last, list, a.Move, a.Entry.Seq)
					}
				}
				cases++
			}
		}
	}
	t.Logf("%d actions", cases)
}
