package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/link"
	"behest/firmware-sim/message"
	"behest/firmware-sim/servertest"
	"behest/firmware-sim/wire"
)

func TestTheRound(t *testing.T) {
	with(t, planned(t, `success:after=2s,result={"ok":true}`), func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Issue(command(1000))
		b.wait(time.Second)
		b.mustTell()
		b.mustHaveActed(map[uint32]int{1000: 1})
		b.wait(2 * time.Second)
		b.mustTell(servertest.Told{Seq: 1000, Report: wire.Report{Status: wire.Success, Result: []byte{0xa1, 0x62, 'o', 'k', 0xf5}}})
		b.mustHaveRegistered("rd?ep=pump-7&lt=3600&last=0")
		if got := b.options.Store.Memory().Last; got != 1000 {
			b.t.Errorf("last is %d", got)
		}
	})
}

// TestReports checks what the server hears for each behaviour.
func TestReports(t *testing.T) {
	fresh := wire.Entry{Seq: 5, Type: "a", Seconds: 60, Fresh: true}
	rows := []struct {
		name, behaviour string
		entry           wire.Entry
		want            []servertest.Told
		effects         int
	}{
		{"success", "success", command(5), []servertest.Told{outcome(5, wire.Success)}, 1},
		{"failure", "failure:code=32,text=stuck", command(5),
			[]servertest.Told{{Seq: 5, Report: wire.Report{Status: wire.Failure, Code: new(int64(32)), Text: "stuck"}}}, 1},
		{"reject", "reject:code=4", command(5), []servertest.Told{{Seq: 5, Report: wire.Report{Status: wire.Rejected, Code: new(int64(4))}}}, 0},
		{"running", "running:every=1s,for=2s", command(5),
			[]servertest.Told{running(5, 0, 1), running(5, 50, 2), outcome(5, wire.Success)}, 1},
		{"report_every asks for running", "success:after=2s", wire.Entry{Seq: 5, Type: "a", Seconds: 60, ReportEvery: time.Second},
			[]servertest.Told{running(5, 0, 1), running(5, 50, 2), outcome(5, wire.Success)}, 1},
		{"silent", "silent", command(5), nil, 1},
		{"busy until its time is out", "busy:for=2m", command(5), []servertest.Told{coded(5, wire.Rejected, wire.CodeExpired, wire.EffectNone)}, 0},
		{"busy, then success", "busy:for=5s", command(5), []servertest.Told{outcome(5, wire.Success)}, 1},
		{"no seconds left", "success", wire.Entry{Seq: 5, Type: "a"}, []servertest.Told{coded(5, wire.Rejected, wire.CodeExpired, wire.EffectNone)}, 0},
		{"a cancel of what was never seen", "success", wire.Entry{Seq: 5, Cancel: true},
			[]servertest.Told{{Seq: 5, Report: wire.Report{Status: wire.Canceled, Effect: new(wire.EffectNone)}}}, 0},
		{"fresh", "success", fresh, []servertest.Told{{Seq: 5, Report: wire.Report{Status: wire.Running, N: new(uint64(1))}}, outcome(5, wire.Success)}, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			with(t, planned(t, row.behaviour), func(b *bench) {
				b.boot()
				b.wait(time.Second)
				b.server.Issue(row.entry)
				b.wait(time.Minute + 2*servertest.RenotifyEvery)
				b.mustTell(row.want...)
				effects := map[uint32]int{}
				if row.effects > 0 {
					effects[5] = row.effects
				}
				b.mustHaveActed(effects)
			})
		})
	}
}

func TestCancelWhileAtWork(t *testing.T) {
	t.Run("stops", func(t *testing.T) {
		with(t, planned(t, "success:after=1m"), func(b *bench) {
			b.boot()
			b.wait(time.Second)
			b.server.Issue(command(5))
			b.wait(time.Second)
			b.server.Cancel(5)
			b.wait(2 * time.Minute)
			b.mustTell(servertest.Told{Seq: 5, Report: wire.Report{Status: wire.Canceled, Effect: new(wire.EffectPartial)}})
			b.mustHaveActed(map[uint32]int{5: 1})
		})
	})
	t.Run("refuses", func(t *testing.T) {
		with(t, planned(t, "refuse-cancel:then=success:after=2s"), func(b *bench) {
			b.boot()
			b.wait(time.Second)
			b.server.Issue(command(5))
			b.wait(500 * time.Millisecond)
			b.server.Cancel(5)
			b.wait(time.Minute)
			refusal := wire.Report{Status: wire.Running, Code: new(int64(wire.CodeCannotCancel)), N: new(uint64(1))}
			b.mustTell(servertest.Told{Seq: 5, Report: refusal}, outcome(5, wire.Success))
		})
	})
}

// TestFreshWaitsForItsAnswer checks each answer to the running report of a fresh
// command: only 2.04 lets it start.
func TestFreshWaitsForItsAnswer(t *testing.T) {
	rows := []struct {
		name    string
		code    message.Code // Empty: none
		want    []servertest.Told
		effects map[uint32]int
	}{
		{"4.09: out of time", message.Conflict, []servertest.Told{coded(5, wire.Rejected, wire.CodeExpired, wire.EffectNone)}, nil},
		{"4.04: nobody knows it", message.NotFound, []servertest.Told{coded(5, wire.Rejected, wire.CodeExpired, wire.EffectNone)}, nil},
		{"no answer in time", message.Empty, []servertest.Told{coded(5, wire.Failure, wire.CodeExpired, wire.EffectNone)}, nil},
		{"5.03, then 2.04", message.Unavailable,
			[]servertest.Told{{Seq: 5, Report: wire.Report{Status: wire.Running, N: new(uint64(1))}}, outcome(5, wire.Success)}, map[uint32]int{5: 1}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			with(t, Options{}, func(b *bench) {
				asked := 0
				b.server.Answer = func(method message.Code, path string) (message.Code, bool) {
					if method != message.POST || path != "c/pump-7/5" {
						return 0, false
					}
					asked++
					return row.code, asked == 1 || (row.code == message.Empty && asked < 6) // all five transmissions
				}
				b.boot()
				b.wait(time.Second)
				b.server.Issue(wire.Entry{Seq: 5, Type: "a", Seconds: 40, Fresh: true})
				b.wait(3 * time.Minute)
				b.mustTell(row.want...)
				b.mustHaveActed(row.effects)
			})
		})
	}
}

// TestAnswersToAReport goes through all of section 4.1.
func TestAnswersToAReport(t *testing.T) {
	rows := []struct {
		code message.Code
		stop bool
	}{
		{message.BadRequest, true}, {message.Forbidden, true}, {message.NotFound, true}, {message.Conflict, true},
		{message.TooLarge, true}, {message.BadFormat, true},
		{message.TooManyRequests, false}, {message.Unavailable, false}, {message.Incomplete, false},
		{message.Unauthorized, false}, {message.Code(0xa0), false},
	}
	for _, row := range rows {
		t.Run(row.code.String(), func(t *testing.T) {
			with(t, Options{}, func(b *bench) {
				var posted []time.Time
				b.server.Answer = func(method message.Code, path string) (message.Code, bool) {
					if method != message.POST || path != "c/pump-7/5" {
						return 0, false
					}
					posted = append(posted, time.Now())
					b.server.Open = nil
					return row.code, len(posted) == 1
				}
				b.boot()
				b.wait(time.Second)
				b.server.Issue(command(5))
				b.wait(time.Minute)
				asked := peek(b.server, &posted)
				if stopped := len(asked) == 1; stopped != row.stop {
					b.t.Fatalf("reported %d times", len(asked))
				}
				if row.stop {
					return
				}
				b.mustTell(outcome(5, wire.Success))
				again := asked[1].Sub(asked[0])
				if row.code == message.TooManyRequests || row.code == message.Unavailable {
					if again < servertest.AnswerMaxAge || again > servertest.AnswerMaxAge+time.Second {
						b.t.Errorf("again after %v, Max-Age was %v", again, servertest.AnswerMaxAge)
					}
				}
			})
		})
	}
}

func TestPowerLossAtEachPointActsAtMostOnce(t *testing.T) {
	rows := []struct {
		behaviour string
		want      servertest.Told
		effects   map[uint32]int
	}{
		{"crash:at=stored", coded(5, wire.Failure, wire.CodeInterrupted, wire.EffectUnknown), nil},
		{"crash:at=acted", coded(5, wire.Failure, wire.CodeInterrupted, wire.EffectUnknown), map[uint32]int{5: 1}},
		{"crash:at=outcome", outcome(5, wire.Success), map[uint32]int{5: 1}},
	}
	for _, row := range rows {
		t.Run(row.behaviour, func(t *testing.T) {
			with(t, planned(t, row.behaviour), func(b *bench) {
				b.boot()
				b.wait(time.Second)
				b.server.Issue(command(5))
				if err := <-b.ended; !errors.Is(err, ErrPowerLoss) {
					b.t.Fatalf("the first life ended with %v", err)
				}
				b.mustTell()
				b.boot()
				b.wait(time.Minute)
				b.mustTell(row.want)
				b.mustHaveActed(row.effects)
				b.mustHaveRegistered("rd?ep=pump-7&lt=3600&last=0", "rd?ep=pump-7&lt=3600&last=5")
			})
		})
	}
}

func TestOutcomeIsRepeatedAfterAReboot(t *testing.T) {
	with(t, planned(t, "failure:code=40"), func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Issue(command(5))
		b.wait(time.Second)
		b.off()
		b.server.Issue(command(5)) // it never heard, or forgot
		b.boot()
		b.wait(2 * time.Second)
		want := servertest.Told{Seq: 5, Report: wire.Report{Status: wire.Failure, Code: new(int64(40))}}
		b.mustTell(want, want)
		b.mustHaveActed(map[uint32]int{5: 1})
	})
}

func TestALongListAndALongReportGoInBlocks(t *testing.T) {
	for _, size := range []uint8{6, 4, 2} {
		t.Run(fmt.Sprint(16<<size), func(t *testing.T) {
			result := bytes.Repeat([]byte{'x'}, 40_000)
			o := Options{Plan: func(wire.Entry) behaviour.Plan {
				plan := behaviour.DefaultPlan()
				plan.Outcome.Result = append([]byte{0x59, 0x9c, 0x40}, result...)
				return plan
			}}
			with(t, o, func(b *bench) {
				b.server.BlockSize = size
				b.boot()
				b.wait(time.Second)
				long := command(5)
				long.Params = append([]byte{0x59, 0x0b, 0xb8}, bytes.Repeat([]byte{7}, 3000)...)
				b.server.Issue(long)
				b.wait(time.Minute)
				want := wire.Report{Status: wire.Success, Result: append([]byte{0x59, 0x9c, 0x40}, result...)}
				b.mustTell(servertest.Told{Seq: 5, Report: want})
			})
		})
	}
}

func TestSeparateResponsesAreUnderstood(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		b.server.Separate = true
		b.server.Open = []wire.Entry{command(5)}
		b.server.Due[5] = time.Now().Add(time.Minute)
		b.boot()
		b.wait(time.Second)
		b.mustTell(outcome(5, wire.Success))
		acks, resets := peek(b.server, &b.server.Acks), peek(b.server, &b.server.Resets)
		if acks == 0 || resets > 0 {
			b.t.Errorf("%d acknowledged, %d reset", acks, resets)
		}
	})
}

func TestTheRegistrationIsKeptAlive(t *testing.T) {
	with(t, Options{Lifetime: time.Minute, Window: 3}, func(b *bench) {
		b.boot()
		b.wait(100 * time.Second)
		b.mustHaveRegistered("rd?ep=pump-7&lt=60&last=0&w=3", "rd/h1?", "rd/h1?")
		token := peek(b.server, &b.server.Token)
		b.wait(time.Minute)
		if !bytes.Equal(peek(b.server, &b.server.Token), token) {
			b.t.Error("the observation's token changed at a refresh")
		}
	})
}

func TestAServerThatForgotIsToldAnew(t *testing.T) {
	with(t, Options{Lifetime: time.Minute}, func(b *bench) {
		b.boot()
		b.wait(time.Second)
		forgot := true
		b.server.Lock()
		b.server.Token = nil
		b.server.Answer = func(method message.Code, path string) (message.Code, bool) {
			if path == "rd" {
				forgot = false
			}
			return message.NotFound, forgot
		}
		b.server.Unlock()
		b.wait(time.Minute)
		b.server.Issue(command(5))
		b.wait(time.Second)
		b.mustTell(outcome(5, wire.Success))
	})
}

func TestAServerThatIsNotThereIsWaitedFor(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		b.server.Quiet = true
		b.boot()
		b.wait(10 * time.Minute)
		if b.count(Waiting) == 0 || b.count(Unheard) < 3 {
			b.t.Errorf("%d waiting, %d unheard", b.count(Waiting), b.count(Unheard))
		}
		b.server.Lock()
		b.server.Quiet = false
		b.server.Unlock()
		b.wait(5 * time.Minute)
		b.server.Issue(command(5))
		b.wait(time.Second)
		b.mustTell(outcome(5, wire.Success))
	})
}

func TestAMalformedListDoesNoHarm(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Lock()
		b.server.Number++
		b.server.Push(message.Message{Code: message.Content, Token: b.server.Token, Payload: []byte{0x81, 0x00},
			Options: message.Options{message.Uint(message.Observe, b.server.Number)}})
		b.server.Unlock()
		b.wait(time.Second)
		if b.count(Malformed) != 1 {
			b.t.Errorf("%d malformed lists were told of", b.count(Malformed))
		}
		b.server.Issue(command(5))
		b.wait(time.Second)
		b.mustTell(outcome(5, wire.Success))
	})
}

func TestAnOvertakenNotificationSaysNothingNew(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		b.boot()
		b.wait(time.Second)
		show := func(number uint32, list ...wire.Entry) {
			b.server.Lock()
			defer b.server.Unlock()
			b.server.Push(message.Message{Code: message.Content, Token: b.server.Token, Payload: wire.AppendList(nil, list),
				Options: message.Options{message.Uint(message.Observe, number)}})
		}
		show(100, command(5))
		show(99, command(6))
		b.wait(time.Second)
		b.mustHaveActed(map[uint32]int{5: 1})
	})
}

func TestNumbersOfObserveWrapAround(t *testing.T) {
	rows := []struct {
		before, number uint32
		since          time.Duration
		want           bool
	}{
		{1, 2, 0, true}, {2, 1, 0, false}, {2, 2, 0, false}, {1<<24 - 1, 0, 0, true}, {0, 1<<24 - 1, 0, false},
		{0, numberHalf - 1, 0, true}, {0, numberHalf, 0, false}, {numberHalf + 1, 0, 0, true}, {2, 1, orderWindow + 1, true},
	}
	for _, row := range rows {
		if got := newer(row.before, row.number, row.since); got != row.want {
			t.Errorf("%d after %d, %v later: %v", row.number, row.before, row.since, got)
		}
	}
}

func TestPowerLossInTheMiddleOfTheAct(t *testing.T) {
	with(t, planned(t, "success:after=1m"), func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Issue(command(5))
		b.wait(time.Second)
		b.off()
		b.boot()
		b.wait(time.Minute)
		b.mustTell(coded(5, wire.Failure, wire.CodeInterrupted, wire.EffectUnknown))
		b.mustHaveActed(map[uint32]int{5: 1})
	})
}

// TestAsManyAtOnceAsAServerMayList lists more than that: the rest waits its turn.
func TestAsManyAtOnceAsAServerMayList(t *testing.T) {
	with(t, planned(t, "success:after=10s"), func(b *bench) {
		b.boot()
		b.wait(time.Second)
		want := map[uint32]int{}
		for seq := range uint32(worksMax + 2) {
			b.server.Issue(command(seq + 1))
			want[seq+1] = 1
		}
		b.wait(time.Second)
		if n := len(b.options.Store.Effects()); n != worksMax {
			b.t.Errorf("%d begun at once", n)
		}
		b.wait(time.Minute)
		b.mustHaveActed(want)
	})
}

// TestSecondsOfAListInBlocksCountFromItsFirst holds a later block back until
// the command is out of time.
func TestSecondsOfAListInBlocksCountFromItsFirst(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		held := 0
		b.server.Still = true
		b.server.Answer = func(method message.Code, path string) (message.Code, bool) {
			if method == message.GET && len(b.server.Open) > 0 {
				held++
			}
			return message.Empty, held == 1 // its repeat comes 2 s later at least
		}
		b.boot()
		b.wait(time.Second)
		long := command(5)
		long.Params = append([]byte{0x59, 0x05, 0xdc}, bytes.Repeat([]byte{7}, 1500)...)
		long.Seconds = 2
		b.server.BlockSize = 6
		b.server.Issue(long)
		b.wait(10 * time.Second)
		b.mustTell(coded(5, wire.Rejected, wire.CodeExpired, wire.EffectNone))
		b.mustHaveActed(nil)
	})
}

func TestARefusalIsNotOvertakenByProgress(t *testing.T) {
	var o outbox
	refusal := &delivery{seq: 5, report: wire.Report{Code: new(int64(wire.CodeCannotCancel))}}
	progress := &delivery{seq: 5, report: wire.Report{Progress: new(uint8(50))}}
	final := &delivery{seq: 5, report: wire.Report{Status: wire.Success}}
	other := &delivery{seq: 6}
	for _, step := range []struct {
		put  *delivery
		want []*delivery
	}{
		{progress, []*delivery{progress}}, {refusal, []*delivery{refusal}}, {progress, []*delivery{refusal}},
		{other, []*delivery{refusal, other}}, {final, []*delivery{final, other}}, {progress, []*delivery{final, other}},
	} {
		o.put(step.put)
		if !slices.Equal(o.waiting, step.want) {
			t.Fatalf("after %+v: %+v", step.put.report, o.waiting)
		}
	}
}

func TestAnOldTokenGetsAReset(t *testing.T) {
	with(t, Options{}, func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Lock()
		b.server.Push(message.Message{Code: message.Content, Token: []byte{1, 2, 3}, Payload: []byte{0x80}})
		b.server.Unlock()
		b.wait(time.Second)
		if resets := peek(b.server, &b.server.Resets); resets != 1 {
			b.t.Errorf("%d resets", resets)
		}
	})
}

func TestRunEndsWhenItsCommandsAreDone(t *testing.T) {
	with(t, Options{Commands: 2}, func(b *bench) {
		b.boot()
		b.wait(time.Second)
		b.server.Issue(command(5))
		b.server.Issue(command(6))
		if err := <-b.ended; err != nil {
			b.t.Error(err)
		}
		b.device = nil
		b.mustTell(outcome(5, wire.Success), outcome(6, wire.Success))
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := link.NewNetwork().Listen(deviceAt)
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(conn, Options{Name: "a", Server: serverAt})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Name: "a", Server: serverAt}
	for name, spoil := range map[string]func(*Options){
		"no name":               func(o *Options) { o.Name = "" },
		"name of 64 bytes":      func(o *Options) { o.Name = strings.Repeat("a", 64) },
		"slash":                 func(o *Options) { o.Name = "a/b" },
		"control character":     func(o *Options) { o.Name = "a\n" },
		"not UTF-8":             func(o *Options) { o.Name = "\xff" },
		"no server":             func(o *Options) { o.Server = netip.AddrPort{} },
		"half a second":         func(o *Options) { o.Lifetime = time.Second / 2 },
		"lifetime over a limit": func(o *Options) { o.Lifetime = lifetimeMax + 1 },
		"window of 9":           func(o *Options) { o.Window = 9 },
		"negative commands":     func(o *Options) { o.Commands = -1 },
	} {
		o := good
		spoil(&o)
		if _, err := New(nil, o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := New(nil, good); err != nil {
		t.Error(err)
	}
}
