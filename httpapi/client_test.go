package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
	"behest/httpapi/client"
)

// The generated client and the server understand each other.
func TestTheClientGoesRound(t *testing.T) {
	d := &desk{devices: func(f device.Filter) ([]device.View, bool, error) {
		if diff := cmp.Diff(f.Label, map[string]string{"site": "a b", "x": ""}); diff != "" {
			t.Errorf("labels (-got +want):\n%s", diff)
		}
		return []device.View{pump()}, true, nil
	}}
	d.cancel = func(command.ID, []string, string) (command.View, error) {
		return pumpCommand(command.Succeeded), command.Errorf(command.CodeConflict, "too late")
	}
	s := serve(t, d, d, Options{})
	c, err := client.NewClientWithResponses(s.url, client.WithHTTPClient(s.client),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+s.tokens["operator"])
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	issued, err := c.IssueCommandWithResponse(ctx, &client.IssueCommandParams{WaitSeconds: new(1), IdempotencyKey: new("k")}, client.Intent{
		Type: "pump.start", Params: json.RawMessage(`{"rpm":1200}`), Targets: client.Targets{Devices: []string{"pump-7"}},
	})
	if err != nil || issued.JSON201 == nil {
		t.Fatalf("issue: %v %s", err, issued.Body)
	}
	if got := issued.JSON201; got.State != "succeeded" || *got.Outcome != "all_succeeded" || string(got.Execution.Result) != `{"ok":true}` ||
		!got.CreatedAt.Equal(noon) || *got.Execution.Seq != 1795521600 {
		t.Errorf("issued: %+v", got)
	}
	listed, err := c.ListDevicesWithResponse(ctx, &client.ListDevicesParams{Label: &[]string{"site=a b", "x="}, PageSize: new(7)})
	if err != nil || listed.JSON200 == nil || len(listed.JSON200.Items) != 1 || listed.JSON200.NextPageToken == "" {
		t.Fatalf("list: %v %s", err, listed.Body)
	}
	edited, err := c.EditDeviceWithResponse(ctx, "pump 7/%", &client.EditDeviceParams{IfMatch: new(`"12"`)}, client.DeviceEdit{AwakeSeconds: new(5)})
	if err != nil || edited.StatusCode() != 400 || edited.ApplicationProblemJSONDefault == nil || edited.ApplicationProblemJSONDefault.Errors[0].Pointer != "device" {
		t.Errorf("a name with a slash: %v %s", err, edited.Body)
	}
	declared, err := c.PutTypeWithResponse(ctx, "pump.start", &client.PutTypeParams{}, client.CommandTypeRules{
		Params: json.RawMessage(`{"type": "object"}`), WireCode: 7, Redelivery: "once",
		Clocks: client.TypeClocks{"run_for_seconds": json.RawMessage(`{"max":60}`)},
	})
	if err != nil || declared.StatusCode() != 403 {
		t.Errorf("an operator declares a type: %v %s", err, declared.Body)
	}
	known, err := c.GetTypeWithResponse(ctx, "pump.start")
	if err != nil || known.JSON200 == nil || known.JSON200.WireCode != 7 || string(known.JSON200.Clocks["deliver_within_seconds"]) != "60" {
		t.Errorf("a type: %v %s", err, known.Body)
	}
	refused, err := c.CancelCommandWithResponse(ctx, id.String(), client.Cancel{Devices: []string{"pump-7"}})
	if err != nil || refused.ApplicationProblemJSONDefault == nil || refused.ApplicationProblemJSONDefault.Command.State != "succeeded" {
		t.Errorf("cancel: %v %s", err, refused.Body)
	}
}
