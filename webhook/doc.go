// Package webhook tells others of events by HTTP: one POST per event, signed
// as Standard Webhooks has it.
//
// # What it promises
//
// Every event that a webhook wants, and that is in the log after its place,
// is delivered at least once, or has a row that says that it was not. What is
// sent was read from the sealed log, so nothing is told that a crash could
// take back. An event has the same webhook-id each time: it is the event's id.
//
// A webhook's place is its cursor. It moves on when everything before it was
// taken or has a row, and that is committed in batches: after a crash, some
// events come again, none is left out.
//
// No connection is made to an address that is not public, unless the webhook
// was allowed to be private, and to some never: see judge. That is checked
// for each connection when its address is known, so that no name, redirect or
// second answer of a name server leads past it. Redirects are not followed,
// and no proxy of the environment is used.
//
// Secrets are not stored. Each is derived (HKDF-SHA256) from the server's key,
// which is a file of its own, and from the webhook's name, salt and generation:
// a database or a backup of it gives nothing away. A secret is told once, when
// it is made. From a rotation's own event on, messages are signed with the new
// one, and with the former too until Options.Overlap is over; a second rotation
// meanwhile ends that of the one before.
//
// # What it does not promise
//
// Order: some are under way at a time, and what failed comes later. Who needs
// it sorts by id. That an event comes once: a receiver keeps the ids that it
// has seen. That events wait for ever: see below.
//
// # How it fails
//
//	any answer from 200 to 299     the hook took it
//	410                            the hook is disabled at once (webhook.disabled); what is left waits
//	any other answer, redirects
//	included, none, or too late    the event gets a row, and is tried again as Options.Schedule
//	                               has it, with jitter, or later if Retry-After says so
//	no attempt left                given up; the row stays for a while. A hook that took nothing
//	                               else in all that time is disabled
//	HookFailuresMax rows wait      the cursor stays until one of them is over
//	the store cannot write         what was delivered since is delivered again
//	the cursor was cut from the
//	log by retention, which waits
//	a week for it                  it goes on with the first event that is there (webhook.reset)
//	a row's event was cut          given up
//
// A hook's trouble is its own: each has its own loop, connections and bounds.
//
// # What it offers
//
// The use cases of operators, as *command.Error where they refuse. A webhook
// has a name that its operator chose, under the rules for names of command
// types, and is put: there is no call that makes up a name.
//
//	Put(ctx, id, command.HookSpec, ifVersion, by) (command.Hook, secret string, created bool, error)
//	Delete(ctx, id, ifVersion, by) error
//	Hook(ctx, id) (command.Hook, error)
//	Hooks(ctx) ([]command.Hook, error)                       all, by name: at most command.HooksMax
//	Rotate(ctx, id, ifVersion, by) (command.Hook, secret string, error)
//	Deliveries(ctx, id, before int64, limit int) ([]command.HookDelivery, more bool, error)
//	Redeliver(ctx, id, command.Place, by) (command.HookDelivery, error)
//
// secret is set by Put if it created the webhook, and by Rotate; no other
// answer holds one, and it is not to be kept under an idempotency key. A
// version of 0 is whatever the webhook has. Deliveries are those that have a
// row, the youngest event first, and before is the number of the last event
// of the page before; 0: from the youngest.
package webhook
