package command

// Kind is what makes an execution move.
type Kind uint8

const (
	// People.
	Approve Kind = iota + 1 // enough approvals are in
	Deny                    // one is against it
	Cancel                  // somebody wants it stopped

	// The gate and the wire.
	Due        // not_before, window, wave and predecessor allow it
	Release    // a transmission that carries it is about to leave
	Ack        // the device's CoAP ACK came, for a list that carried it
	AckCancel  // likewise, for a list that carried its cancel
	Unanswered // every retry of an exchange stayed without ACK or report

	// The device. The law: nothing else leads to Succeeded, Failed or Rejected.
	ReportRunning
	ReportSuccess
	ReportFailure
	ReportRejected
	ReportCanceled
	ReportCannotCancel // running, with the code that says the cancel came too late

	// Clocks.
	ApproveLapse   // approve_within
	UseLapse       // use_within
	HoldLapse      // hold_within
	DeliverLapse   // deliver_within, nothing released
	UnreachedLapse // deliver_within and run_for, released and never acknowledged
	RunLapse       // run_for
	SilenceLapse   // report_every and its grace
	CancelLapse    // cancel_for
	SettleLapse    // settle_for: closed as unknown

	// Circumstances.
	GiveUp   // a `once` exchange is over without ACK or report
	Withdraw // the device was removed, somebody is no longer entitled, integrity is gone
	Lose     // the store was restored, or the device lost its memory
	kindEnd

	// Of gates alone: no execution moves by them.
	Pause  // somebody stops a rollout for a while
	Resume // somebody lets it go on
	Halt   // too much went wrong
)

var kindNames = [...]string{
	"", "approve", "deny", "cancel", "due", "release", "ack", "ack of cancel", "unanswered",
	"report running", "report success", "report failure", "report rejected", "report canceled", "report cannot cancel",
	"approve_within lapses", "use_within lapses", "hold_within lapses", "deliver_within lapses",
	"deliver_within + run_for lapse", "run_for lapses", "heartbeat lapses", "cancel_for lapses", "settle_for lapses",
	"give up", "withdraw", "lose",
}

func (k Kind) String() string { return nameOf(kindNames[:], k) }

// Kinds lists every kind of trigger.
var Kinds = func() []Kind {
	all := make([]Kind, 0, kindEnd-1)
	for k := Approve; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}()

type edge struct {
	from State
	on   Kind
}

// moves is the whole lifecycle. A pair that is not here moves nothing.
//
// A report may overtake its acknowledgement: UDP reorders, and an empty ACK
// may be lost while the report is not. Hence every report that Delivered
// knows, Sent knows too.
//
// Approval leads to Scheduled; what has no gate to wait for is Due in the
// same commit. Rejected means refused before it started, so it does not
// follow Running. A device that a cancel reaches too late says so and goes
// on: that is the one way back, from Canceling to Running.
var moves = map[edge]State{
	{AwaitingApproval, Approve}:      Scheduled,
	{AwaitingApproval, Deny}:         Denied,
	{AwaitingApproval, Cancel}:       Canceled,
	{AwaitingApproval, ApproveLapse}: Expired,
	{AwaitingApproval, Withdraw}:     Canceled,
	{AwaitingApproval, Lose}:         TimedOut,

	{Scheduled, Due}:       Queued,
	{Scheduled, Cancel}:    Canceled,
	{Scheduled, HoldLapse}: Expired,
	{Scheduled, UseLapse}:  Expired,
	{Scheduled, Withdraw}:  Canceled,
	{Scheduled, Lose}:      TimedOut,

	{Queued, Release}:      Sent,
	{Queued, Cancel}:       Canceled,
	{Queued, DeliverLapse}: Expired,
	{Queued, UseLapse}:     Expired,
	{Queued, Withdraw}:     Canceled,
	{Queued, Lose}:         TimedOut,

	{Sent, Ack}:            Delivered,
	{Sent, ReportRunning}:  Running,
	{Sent, ReportSuccess}:  Succeeded,
	{Sent, ReportFailure}:  Failed,
	{Sent, ReportRejected}: Rejected,
	{Sent, ReportCanceled}: Canceled,
	{Sent, Cancel}:         Canceling,
	{Sent, UnreachedLapse}: TimedOut,
	{Sent, Unanswered}:     Sent,
	{Sent, GiveUp}:         TimedOut,
	{Sent, Withdraw}:       TimedOut,
	{Sent, Lose}:           TimedOut,

	{Delivered, ReportRunning}:  Running,
	{Delivered, ReportSuccess}:  Succeeded,
	{Delivered, ReportFailure}:  Failed,
	{Delivered, ReportRejected}: Rejected,
	{Delivered, ReportCanceled}: Canceled,
	{Delivered, Cancel}:         Canceling,
	{Delivered, RunLapse}:       TimedOut,
	{Delivered, Withdraw}:       TimedOut,
	{Delivered, Lose}:           TimedOut,

	{Running, ReportRunning}:  Running,
	{Running, ReportSuccess}:  Succeeded,
	{Running, ReportFailure}:  Failed,
	{Running, ReportCanceled}: Canceled,
	{Running, Cancel}:         Canceling,
	{Running, RunLapse}:       TimedOut,
	{Running, SilenceLapse}:   TimedOut,
	{Running, Withdraw}:       TimedOut,
	{Running, Lose}:           TimedOut,

	{Canceling, Ack}:                Canceling,
	{Canceling, AckCancel}:          Canceling,
	{Canceling, Unanswered}:         Canceling,
	{Canceling, ReportRunning}:      Canceling,
	{Canceling, ReportCannotCancel}: Running,
	{Canceling, ReportSuccess}:      Succeeded,
	{Canceling, ReportFailure}:      Failed,
	{Canceling, ReportRejected}:     Rejected,
	{Canceling, ReportCanceled}:     Canceled,
	{Canceling, CancelLapse}:        TimedOut,
	{Canceling, Withdraw}:           TimedOut,
	{Canceling, Lose}:               TimedOut,

	// Late truth. A late "running" revives only what was silent: see Step.
	{TimedOut, ReportRunning}:  Running,
	{TimedOut, ReportSuccess}:  Succeeded,
	{TimedOut, ReportFailure}:  Failed,
	{TimedOut, ReportRejected}: Rejected,
	{TimedOut, ReportCanceled}: Canceled,
	{TimedOut, SettleLapse}:    TimedOut,
}
