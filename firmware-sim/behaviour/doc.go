// Package behaviour is the small language that says what a simulated device
// does with a command.
//
//	BEHAVIOUR = NAME [":" KEY "=" VALUE { "," KEY "=" VALUE }]
//
//	success         act, then report success
//	    after=2s        the act takes so long
//	    result=JSON     becomes CBOR; {"$bytes": "base64url"} a byte string
//	    prev=JSON       the value before, for a restore
//	    code=N text=T progress=N effect=none|partial|applied|unknown
//	failure         act, then report failure; the keys of success
//	reject          do not act, report rejected; code (2 unless said) and text
//	running         report running with a percentage while acting
//	    every=1s        so often; the device's report_every when that is shorter
//	    for=5s          so long
//	    then=BEHAVIOUR  and then this (success unless said)
//	busy            cannot start it for=5s after it was first seen, then=BEHAVIOUR
//	silent          act, and never say a word
//	crash           lose power; at=stored (unless said): after `last` is stored;
//	                at=acted: after the act; at=outcome: before the outcome is sent
//	refuse-cancel   cannot be canceled, then=BEHAVIOUR
//
// then= takes all that follows it, so it stands last. Texts with commas are
// written as JSON strings. Durations are Go's: 300ms, 5s, 1m30s.
//
// Parse returns a Plan or an error of one line that names the part at fault. A
// Plan is plain data: programs may build one without the language.
package behaviour
