package httpapi

import (
	"strings"
	"testing"

	"behest/command"
	"behest/device"
)

const commandPath = "/v1/commands/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071"

// The golden file shows the API to people: what is asked, what is answered.
func TestConversations(t *testing.T) {
	d := &desk{}
	d.cancel = func(_ command.ID, devices []string, _ string) (command.View, error) {
		if devices != nil {
			return pumpCommand(command.Succeeded), command.Errorf(command.CodeConflict, "nothing is left to cancel: the command is succeeded")
		}
		return pumpCommand(command.Canceled), nil
	}
	d.put = func(name string, _ device.Edit, _ string) (device.View, bool, error) {
		v := pump()
		v.Name = name
		return v, name != "pump-7", nil
	}
	d.putType = func(typ command.Type, ifVersion int, by string) (command.Type, bool, error) {
		typ.Version, typ.CreatedAt, typ.CreatedBy = ifVersion+1, noon, by
		return typ, ifVersion == 0, nil
	}
	s := serve(t, d, d, Options{})
	var b strings.Builder
	b.WriteString("# What is asked, and what is answered. Written by TestConversations -update.\n\n")
	for _, a := range []ask{
		{name: "a command on one device", path: "/v1/commands",
			body: `{"type":"pump.start","params":{"rpm":1200},"targets":{"devices":["pump-7"]}}`},
		{name: "everything that can be said with a command", path: "/v1/commands",
			body: `{"type":"valve.set","params":{"position":0.25,"token":{"$bytes":"3q2-7w"},"big":18446744073709551615},` +
				`"targets":{"devices":["pump-7"]},"reason":"night","labels":{"site":"a"},"not_before":"2026-11-24T22:00:00+01:00",` +
				`"deliver_within_seconds":3600,"run_for_seconds":120,"expect_targets":1,"allow_unregistered":true}`},
		{name: "issue and wait", path: "/v1/commands?wait_seconds=30", body: `{"type":"pump.start","targets":{"devices":["pump-7"]}}`},
		{name: "look at it", path: commandPath},
		{name: "wait for it", path: commandPath + "?wait_seconds=60"},
		{name: "all of one device that succeeded", path: "/v1/commands?device=pump-7&state=succeeded&label=site%3Da&page_size=1"},
		{name: "its executions", path: commandPath + "/executions?state=succeeded"},
		{name: "what a device did, across commands", path: "/v1/executions?device=pump-7&state=succeeded&state=failed"},
		{name: "one execution with its reports", path: commandPath + "/executions/pump-7"},
		{name: "cancel", method: "POST", path: commandPath + "/cancel"},
		{name: "cancel what has ended", path: commandPath + "/cancel", body: `{"devices":["pump-7"]}`},
		{name: "what it would come to", path: "/v1/commands/preview", body: `{"type":"pump.start","targets":{"selector":"site=a"}}`},
		{name: "what waits for me", as: "approver", path: "/v1/approvals"},
		{name: "agree", as: "approver", path: commandPath + "/approve", body: decideBody("checked with the shift")},
		{name: "refuse", as: "approver", path: commandPath + "/deny", body: decideBody("")},
		{name: "let no more through", method: "POST", path: commandPath + "/pause"},
		{name: "let it go on", method: "POST", path: commandPath + "/resume"},
		{name: "undo it", path: commandPath + "/rollback", body: `{"devices":["pump-7"],"reason":"wrong site"}`},
		{name: "devices", path: "/v1/devices?label=site%3Da"},
		{name: "a device", path: "/v1/devices/pump-7"},
		{name: "a device that is not known", path: "/v1/devices/pump-8"},
		{name: "make a device known", method: "PUT", path: "/v1/devices/caf%C3%A9%2042%25", body: `{"labels":{"site":"a"}}`},
		{name: "replace what is said about it", method: "PUT", path: "/v1/devices/pump-7", body: `{}`, header: map[string]string{"If-Match": `"12"`}},
		{name: "edit it", method: "PATCH", path: "/v1/devices/pump-7", body: `{"ack_timeout_seconds":2.5,"awake_seconds":0}`},
		{name: "empty its queue", method: "POST", path: "/v1/devices/pump-7/cancel"},
		{name: "remove it", as: "admin", method: "DELETE", path: "/v1/devices/pump-7", header: map[string]string{"If-Match": `"12"`}},
		{name: "name a group", method: "PUT", path: "/v1/groups/north", body: `{"selector":"site=north,kind in (pump,valve)"}`},
		{name: "a group", as: "viewer", path: "/v1/groups/north"},
		{name: "groups", as: "viewer", path: "/v1/groups"},
		{name: "forget a group", method: "DELETE", path: "/v1/groups/north", header: map[string]string{"If-Match": `"2"`}},
		{name: "a type that two must agree to, and its way back", as: "admin", method: "PUT", path: "/v1/types/valve.open",
			body: `{"approval":{"approvers":2,"when":[{"pointer":"/percent","above":50}]},"rollback":{"kind":"inverse","type":"valve.close","params":{"valve":"/valve","why":"undone"}}}`},
		{name: "declare a type", as: "admin", method: "PUT", path: "/v1/types/valve.set%25",
			body: `{"params": {"type": "object", "properties": {"position": {"type": "number", "maximum": 1}}}, "result": {"type": "boolean"},` +
				` "wire_code": 9, "large": true, "float32": true, "redelivery": "safe", "parallel": true, "fresh": true, "slot": ["/position"],` +
				` "significance": "critical", "clocks": {"deliver_within_seconds": 60, "run_for_seconds": {"default": 30, "min": 10, "max": 90}}}`},
		{name: "the least type", as: "admin", method: "PUT", path: "/v1/types/t", body: `{}`},
		{name: "its next version", as: "admin", method: "PUT", path: "/v1/types/pump.start", body: `{"params": true, "result": null}`, header: map[string]string{"If-Match": `"3"`}},
		{name: "types", as: "viewer", path: "/v1/types?page_size=1"},
		{name: "a type", as: "viewer", path: "/v1/types/pump.start"},
		{name: "a version of it", as: "viewer", path: "/v1/types/pump.start/versions/2"},
		{name: "retire it", as: "admin", method: "DELETE", path: "/v1/types/pump.start", header: map[string]string{"If-Match": `"3"`}},
		{name: "users", as: "admin", path: "/v1/users"},
		{name: "a user", as: "admin", path: "/v1/users/ann"},
		{name: "make somebody known", as: "admin", method: "PUT", path: "/v1/users/ben", body: `{"roles":[{"role":"approver","groups":["north"]}]}`},
		{name: "give out a token", as: "admin", path: "/v1/users/ben/tokens", body: `{"note":"script","expires_at":"2027-06-01T00:00:00Z"}`},
		{name: "tokens", as: "admin", path: "/v1/users/ben/tokens"},
		{name: "make a secret", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"kind":"psk"}`},
		{name: "set a secret", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"kind":"psk","secret":"6b9f1c0a55d24e7790aa31c8be02f4d1"}`},
		{name: "credentials", as: "admin", path: "/v1/devices/pump-7/credentials"},
		{name: "revoke a credential", as: "admin", method: "DELETE", path: "/v1/devices/pump-7/credentials/2"},
		{name: "revoke a token", as: "admin", method: "DELETE", path: "/v1/users/ben/tokens/2"},
		{name: "forget somebody", as: "admin", method: "DELETE", path: "/v1/users/ben", header: map[string]string{"If-Match": `"1"`}},
		{name: "have somebody told of what comes of commands", as: "admin", method: "PUT", path: "/v1/webhooks/mes",
			body: `{"url":"https://mes.example.org/in","types":["command.ended","execution.*"]}`},
		{name: "tell it no more for a while", as: "admin", method: "PUT", path: "/v1/webhooks/erp", body: `{"url":"https://erp.example.org/in","disabled":true}`,
			header: map[string]string{"If-Match": `"2"`}},
		{name: "webhooks", as: "admin", path: "/v1/webhooks"},
		{name: "a webhook", as: "admin", path: "/v1/webhooks/erp"},
		{name: "another secret for it", as: "admin", method: "POST", path: "/v1/webhooks/erp/secret"},
		{name: "what it did not take at once", as: "admin", path: "/v1/webhooks/erp/deliveries"},
		{name: "tell it once more", as: "admin", method: "POST", path: "/v1/webhooks/erp/deliveries/1-12/redeliver"},
		{name: "forget it", as: "admin", method: "DELETE", path: "/v1/webhooks/erp", header: map[string]string{"If-Match": `"2"`}},
		{name: "who am I", path: "/v1/me"},
		{name: "alive", as: "nobody", path: "/livez"},
		{name: "ready", as: "nobody", path: "/readyz"},
	} {
		b.WriteString(s.do(a).text(a))
	}
	golden(t, "conversations.txt", b.String())
}
