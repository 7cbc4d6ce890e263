package httpapi

import (
	"context"
	"time"

	"behest/access"
	"behest/command"
	"behest/device"
)

// desked is what a test may set of commands that are held back, of ways back
// and of groups.
type desked struct {
	decide        func(id command.ID, d command.Decision) (command.View, error)
	gate          func(id command.ID, what command.Kind, by string) (command.View, error)
	approvals     func(user string, after int64, limit int) ([]command.View, int64, bool, error)
	rollback      func(id command.ID, in command.RollbackIntent) (command.Issued, error)
	preview       func(in command.Intent) (command.Preview, error)
	putGroup      func(g device.Group, ifVersion int64, by string) (device.Group, bool, error)
	removeGroup   func(name string, ifVersion int64, by string) error
	groups        func(after string, limit int) ([]device.Group, bool, error)
	putUser       func(u access.User, ifVersion int64, by string) (access.User, bool, error)
	removeUser    func(id string, ifVersion int64, by string) error
	addToken      func(user, note string, expires time.Time, by string) (access.TokenRecord, string, error)
	revoke        func(user string, n int, by string) error
	addCredential func(p device.Proof, by string) (device.Credential, device.Secret, error)
	uncredit      func(name string, n int, by string) error
	importAll     func(proofs []device.Proof, makeDevices bool, by string) ([]device.Imported, error)
	users         func(after string, limit int) ([]access.User, bool, error)
}

func (d *desk) PutUser(_ context.Context, u access.User, ifVersion int64, by string) (access.User, bool, error) {
	if d.putUser != nil {
		return d.putUser(u, ifVersion, by)
	}
	u.Version, u.CreatedAt, u.ChangedAt, u.ChangedBy = 1, noon, noon, by
	return u, true, nil
}

func (d *desk) RemoveUser(_ context.Context, id string, ifVersion int64, by string) error {
	if d.removeUser != nil {
		return d.removeUser(id, ifVersion, by)
	}
	return nil
}

func (d *desk) AddToken(_ context.Context, user, note string, expires time.Time, by string) (access.TokenRecord, string, error) {
	if d.addToken != nil {
		return d.addToken(user, note, expires, by)
	}
	return access.TokenRecord{User: user, N: 2, Note: note, ExpiresAt: expires, CreatedAt: noon, CreatedBy: by},
		"bh_0a1b2c3d00112233445566778899aabbccddeeff3jpspsg", nil
}

func (d *desk) RevokeToken(_ context.Context, user string, n int, by string) error {
	if d.revoke != nil {
		return d.revoke(user, n, by)
	}
	return nil
}

func (d *desk) User(_ context.Context, id string) (access.User, error) {
	if id != "ann" {
		return access.User{}, command.Errorf(command.CodeNotFound, "no user is called %q", id)
	}
	return ann(), nil
}

func (d *desk) Users(_ context.Context, after string, limit int) ([]access.User, bool, error) {
	if d.users != nil {
		return d.users(after, limit)
	}
	return []access.User{ann()}, false, nil
}

func (d *desk) UserTokens(_ context.Context, user string) ([]access.TokenRecord, error) {
	return []access.TokenRecord{
		{User: user, N: 1, CreatedAt: noon.AddDate(0, -1, 0), RevokedAt: noon.AddDate(0, 0, -2)},
		{User: user, N: 2, Note: "script", CreatedAt: noon.AddDate(0, 0, -2), CreatedBy: "admin", ExpiresAt: noon.AddDate(1, 0, 0), LastUsedAt: noon.Add(-time.Hour)},
		{User: user, N: 3, CreatedAt: noon.AddDate(0, 0, -1), CreatedBy: "admin", ExpiresAt: noon},
	}, nil
}

// ann is the user of most tests.
func ann() access.User {
	return access.User{ID: "ann", Name: "Ann", Email: "ann@example.com", Version: 3, CreatedAt: noon.AddDate(0, -1, 0),
		ChangedAt: noon.AddDate(0, 0, -1), ChangedBy: "admin",
		Grants: []access.Grant{{Role: access.Viewer}, {Role: access.Operator, Groups: []string{"north"}, Selector: "kind=pump"}}}
}

func (d *desk) Approve(_ context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error) {
	return d.decided(id, command.Decision{User: by, Approve: true, Comment: comment, Digest: digest})
}

func (d *desk) Deny(_ context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error) {
	return d.decided(id, command.Decision{User: by, Comment: comment, Digest: digest})
}

func (d *desk) decided(id command.ID, said command.Decision) (command.View, error) {
	if d.decide != nil {
		return d.decide(id, said)
	}
	v := heldCommand(command.Queued)
	if !said.Approve {
		v = heldCommand(command.Denied)
	}
	said.At = noon.Add(time.Minute)
	v.Decisions = []command.Decision{said}
	return v, nil
}

func (d *desk) Approvals(_ context.Context, user string, after int64, limit int) ([]command.View, int64, bool, error) {
	if d.approvals != nil {
		return d.approvals(user, after, limit)
	}
	return []command.View{heldCommand(command.AwaitingApproval)}, 41, false, nil
}

func (d *desk) Pause(_ context.Context, id command.ID, by string) (command.View, error) {
	if d.gate != nil {
		return d.gate(id, command.Pause, by)
	}
	return rolloutCommand(command.GatePaused), nil
}

func (d *desk) Resume(_ context.Context, id command.ID, by string) (command.View, error) {
	if d.gate != nil {
		return d.gate(id, command.Resume, by)
	}
	return rolloutCommand(command.GateOpen), nil
}

func (d *desk) Rollback(_ context.Context, undone command.ID, in command.RollbackIntent) (command.Issued, error) {
	if d.rollback != nil {
		return d.rollback(undone, in)
	}
	v := pumpCommand(command.Queued)
	v.Command.ID[15]++
	v.Command.RollbackOf, v.Command.Reason, v.Command.RequestedBy = undone, in.Reason, in.By
	return command.Issued{View: v}, nil
}

func (d *desk) Preview(_ context.Context, in command.Intent) (command.Preview, error) {
	if d.preview != nil {
		return d.preview(in)
	}
	v := heldCommand(command.AwaitingApproval)
	return command.Preview{
		Command: v.Command, Digest: v.Digest(), Devices: 3, Away: 1, Offline: []string{"pump-8"},
		Refused: []command.Refusal{{Device: "pump-9", Code: command.CodeDeviceFull}},
	}, nil
}

func (d *desk) PutGroup(_ context.Context, g device.Group, ifVersion int64, by string) (device.Group, bool, error) {
	if d.putGroup != nil {
		return d.putGroup(g, ifVersion, by)
	}
	g.Version, g.CreatedAt, g.ChangedAt, g.ChangedBy = 1, noon, noon, by
	return g, true, nil
}

func (d *desk) RemoveGroup(_ context.Context, name string, ifVersion int64, by string) error {
	if d.removeGroup != nil {
		return d.removeGroup(name, ifVersion, by)
	}
	return nil
}

func (d *desk) GroupNamed(_ context.Context, name string) (device.Group, error) {
	if name != "north" {
		return device.Group{}, command.Errorf(command.CodeNotFound, "no group is called %q", name)
	}
	return north(), nil
}

func (d *desk) GroupPage(_ context.Context, after string, limit int) ([]device.Group, bool, error) {
	if d.groups != nil {
		return d.groups(after, limit)
	}
	return []device.Group{north()}, false, nil
}

// north is the group of most tests.
func north() device.Group {
	return device.Group{Name: "north", Selector: "site=north,kind in (pump,valve)", Version: 2,
		CreatedAt: noon.AddDate(0, -1, 0), ChangedAt: noon.AddDate(0, 0, -1), ChangedBy: "ann"}
}

// heldCommand is pumpCommand as one that two people must agree to.
func heldCommand(s command.State) command.View {
	v := pumpCommand(s)
	if s == command.Denied { // like one that was canceled before it left
		v = pumpCommand(command.Canceled)
		v.Only.State, v.Tally = s, command.Tally{}
		v.Tally.Add(*v.Only)
	}
	v.Command.Approval = &command.Demand{Approvers: 2, Role: "approver"}
	return v
}

// rolloutCommand is a command in waves on three devices, one of which is
// through.
func rolloutCommand(s command.GateState) command.View {
	c := pumpCommand(command.Queued).Command
	c.Targets = command.Targets{Groups: []string{"north"}, Selector: "kind=pump"}
	c.Devices, c.Resolved = 3, command.DigestTargets(command.Named("pump-7", "pump-8", "pump-9"))
	c.Rollout = &command.Rollout{
		Waves: []command.Wave{{Count: 1}, {Percent: 50}}, RatePerMinute: 60, WaveWithin: time.Hour, AdvancePercent: 90,
		Halt: &command.Threshold{Percent: 10, Minimum: 1}, RollbackOnHalt: true,
		Window: &command.Window{Cron: "0 2 * * *", Duration: 2 * time.Hour, Zone: "Europe/Berlin"},
	}
	v := command.View{Command: c, Gate: &command.Gate{Command: c, Version: 3, State: s, Through: 1, WaveAt: noon}}
	v.Tally.Add(*pumpCommand(command.Succeeded).Only)
	v.Tally.Pending = 2
	return v
}

func (d *desk) AddCredential(_ context.Context, p device.Proof, by string) (c device.Credential, made device.Secret, err error) {
	if d.addCredential != nil {
		return d.addCredential(p, by)
	}
	if p.Kind == device.PSK && p.Secret == nil {
		made = device.Secret("0123456789abcdef")
	}
	return device.Credential{Device: p.Device, N: 3, Kind: p.Kind, CreatedAt: noon, CreatedBy: by}, made, nil
}

func (d *desk) RevokeCredential(_ context.Context, name string, n int, by string) error {
	if d.uncredit != nil {
		return d.uncredit(name, n, by)
	}
	return nil
}

func (d *desk) ImportCredentials(_ context.Context, proofs []device.Proof, makeDevices bool, by string) ([]device.Imported, error) {
	if d.importAll != nil {
		return d.importAll(proofs, makeDevices, by)
	}
	return make([]device.Imported, len(proofs)), nil
}

func (d *desk) Credentials(_ context.Context, name string) ([]device.Credential, error) {
	seal := device.Seal{Key: 1, Bytes: []byte("sealed")}
	return []device.Credential{
		{Device: name, N: 1, Kind: device.PSK, CreatedAt: noon.AddDate(0, -1, 0), RevokedAt: noon.AddDate(0, 0, -2), RevokedBy: "admin"},
		{Device: name, N: 2, Kind: device.PSK, Seal: seal, Digest: [32]byte{0xaa}, CreatedAt: noon.AddDate(0, 0, -2), CreatedBy: "admin", UsedAt: noon.Add(-time.Hour)},
		{Device: name, N: 3, Kind: device.Certificate, Seal: seal, Digest: [32]byte{0xbb}, CreatedAt: noon.AddDate(0, 0, -1), ExpiresAt: noon},
	}, nil
}

func (d *desk) RollbackOnce(ctx context.Context, once command.Claim, undone command.ID, in command.RollbackIntent,
	render func(command.Issued) []byte,
) ([]byte, bool, error) {
	issued, err := d.Rollback(ctx, undone, in)
	if err != nil {
		return nil, false, err
	}
	return render(issued), false, nil
}
