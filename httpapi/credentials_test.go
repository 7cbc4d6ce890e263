package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/device"
)

// On the real store, a device gets keys, loses one, and nobody is told a secret
// twice: not in a list, nor in an event, nor in the log.
func TestRealCredentialsComeAndGo(t *testing.T) {
	s := peopled(t)
	const at = "/v1/devices/pump-7/credentials"
	ask := func(a ask, status int, want string) string {
		t.Helper()
		a.as = "admin"
		r := s.do(a)
		if r.status != status || !strings.Contains(r.body, want) {
			t.Fatalf("%s: %d %s", a.name, r.status, r.body)
		}
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", a.name, r.header.Get("Cache-Control"))
		}
		return r.body
	}
	type call = struct{ method, body string }
	for _, c := range []call{{"GET", ""}, {"POST", `{"kind":"psk"}`}, {"DELETE", ""}} {
		path := at
		if c.method == "DELETE" {
			path += "/1"
		}
		ask(one("a device that is not known", c.method, path, c.body), 404, "not_found")
	}
	ask(one("a device", "PUT", "/v1/devices/pump-7", `{}`), 201, "")
	ask(one("another", "PUT", "/v1/devices/pump-8", `{}`), 201, "")
	var made NewCredential
	if err := json.Unmarshal([]byte(ask(one("make", "POST", at, `{"kind":"psk"}`), 201, `"n":1`)), &made); err != nil || len(made.Secret) != 32 {
		t.Fatalf("%v: a secret of %d characters", err, len(made.Secret))
	}
	const set = "00112233445566778899AABBCCDDEEFF"
	if body := ask(one("set", "POST", at, `{"kind":"psk","secret":"`+set+`"}`), 201, `"n":2`); strings.Contains(body, "secret") {
		t.Errorf("what was set is told: %s", body)
	}
	ask(one("set again", "POST", at, `{"kind":"psk","secret":"`+set+`"}`), 409, "credential 2 of the device already")
	ask(one("another's", "POST", "/v1/devices/pump-8/credentials", `{"kind":"psk","secret":"`+strings.ToLower(set)+`"}`), 409, "another device has it")
	ask(one("short", "POST", at, `{"kind":"psk","secret":"0011"}`), 422, `"pointer":"/secret"`)
	ask(one("no certificate", "POST", at, `{"kind":"certificate","pem":"x"}`), 422, `"pointer":"/pem"`)
	if body := ask(one("look at one", "GET", at+"/2", ""), 200, `"counts":true`); strings.Contains(body, "secret") {
		t.Errorf("a look tells %s", body)
	}
	ask(one("look at none", "GET", at+"/3", ""), 404, "has no credential 3")
	for range 2 { // the second time in vain
		ask(one("revoke", "DELETE", at+"/1", ""), 204, "")
	}
	ask(one("look at a revoked one", "GET", at+"/1", ""), 200, `"revoked_by":"admin"`)
	ask(one("no such", "DELETE", at+"/9", ""), 404, "no credential 9")
	lists := ask(one("list", "GET", at, ""), 200, `"revoked_by":"admin"`) +
		ask(one("told", "GET", "/v1/events?type=credential.created&type=credential.revoked", ""), 200, `"data":{"n":1,"kind":"psk"}`)
	log := s.log.String()
	for _, secret := range []string{made.Secret, set, strings.ToLower(set)} {
		if strings.Contains(lists, secret) || strings.Contains(log, secret) {
			t.Error("a secret is told twice")
		}
	}
	if strings.Contains(lists, "seal") || strings.Contains(lists, "digest") {
		t.Errorf("what is kept is told: %s", lists)
	}
}

func one(name, method, path, body string) ask {
	return ask{name: name, method: method, path: path, body: body}
}

// notes are the lines of an import's answer, each held against the contract.
func notes(t *testing.T, body string) (all []ImportNote) {
	t.Helper()
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	schema := doc.Components.Schemas["ImportNote"].Value
	for line := range strings.Lines(body) {
		var raw any
		var n ImportNote
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			t.Fatal(err)
		}
		if err := schema.VisitJSON(raw, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
			t.Errorf("%s breaks the contract: %v", line, err)
		}
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// texts are notes to compare.
func texts(all []ImportNote) (lines []string) {
	for _, n := range all {
		switch {
		case n.Refused != nil:
			lines = append(lines, fmt.Sprintf("%d %s %q %s", n.Line, n.Refused.Code, n.Refused.Device, n.Refused.Detail))
		case n.Stopped != nil:
			lines = append(lines, fmt.Sprintf("%d stopped %s %s", n.Line, n.Stopped.Code, n.Stopped.Detail))
		case n.Done:
			lines = append(lines, fmt.Sprintf("%d done %v", n.Line, *n.SoFar))
		default:
			lines = append(lines, fmt.Sprintf("%d so far %v", n.Line, *n.SoFar))
		}
	}
	return lines
}

func (s *service) importAll(kind, query, body string) []ImportNote {
	s.t.Helper()
	r := s.do(ask{name: "import", as: "admin", method: "POST", path: "/v1/credentials/import" + query, body: body, header: map[string]string{"Content-Type": kind}})
	if r.status != 200 || r.header.Get("Content-Type") != "application/jsonl" {
		s.t.Fatalf("%d %v: %s", r.status, r.header, r.body)
	}
	return notes(s.t, r.body)
}

// secretOf is a secret of 16 bytes for each n.
func secretOf(n int) string { return fmt.Sprintf("00112233445566778899aabb%08x", n) }

func TestRealImportOfGoodAndBadLines(t *testing.T) {
	s := peopled(t)
	for _, name := range []string{"a", "b"} {
		s.do(ask{name: name, as: "admin", method: "PUT", path: "/v1/devices/" + name, body: `{}`})
	}
	csv := strings.Join([]string{
		"\xef\xbb\xbfsecret,device\r",
		secretOf(1) + ",a\r",
		"",
		`"` + secretOf(2) + `","b"`,
		secretOf(3) + ",c",
		secretOf(1) + ",b",
		"0011,a",
		secretOf(4),
		secretOf(5) + `,"a`,
		secretOf(6) + ",x/y",
		secretOf(7) + "," + strings.Repeat("x", importLineBytes),
		secretOf(8) + ",\xff",
		secretOf(9) + ",a", // the last line, without an end
	}, "\n")
	want := []string{
		`7 invalid "a" the credential cannot be as it is; /secret is under 16 bytes`,
		`8 malformed "" the line has 1 fields, not 2`,
		`9 malformed "" the line is not CSV`,
		`10 malformed "" a fault in the request; /device the endpoint name holds a slash`,
		`11 too_large "" the line is over 8192 bytes`,
		`12 malformed "" the line is not UTF-8`,
		`5 not_found "c" no such device`,
		`6 conflict "b" another device has it, or had it; each needs a secret of its own`,
		`13 done {3 0 8}`,
	}
	if diff := cmp.Diff(texts(s.importAll("text/csv; charset=utf-8", "", csv)), want); diff != "" {
		t.Errorf("CSV (-got +want):\n%s", diff)
	}
	jsonl := strings.Join([]string{
		`{"device":"a","secret":"` + secretOf(1) + `"}`,
		`{"device":"c","kind":"psk","secret":"` + secretOf(3) + `"}`,
		`{"device":"a","secret":"` + secretOf(10) + `","note":"x"}`,
		`{"device":"a","secret":1}`,
		`{"device":"a","device":"b","secret":"` + secretOf(11) + `"}`,
		`{"device":"a"}`,
		`["a"]`,
		`{"device":"a","kind":"certificate","pem":"x"}`,
	}, "\n") + "\n"
	want = []string{
		`3 malformed "" the line is not an object of device, kind, secret and pem`,
		`4 malformed "" the line is not an object of device, kind, secret and pem`,
		`5 malformed "" a fault in the request; /device is there twice`,
		`7 malformed "" the line is not an object of device, kind, secret and pem`,
		`6 invalid "a" it has no secret`,
		`8 invalid "a" the credential cannot be as it is; /pem is no certificate in PEM`,
		`8 done {1 1 6}`,
	}
	if diff := cmp.Diff(texts(s.importAll("application/jsonl", "?make_devices=true", jsonl)), want); diff != "" {
		t.Errorf("JSON lines (-got +want):\n%s", diff)
	}
	// Again: nothing is lost, nothing is doubled.
	again := texts(s.importAll("text/csv", "", csv))
	if got, want := again[len(again)-1], "13 done {0 4 7}"; got != want {
		t.Errorf("again: %s, want %s", got, want)
	}
	for n := range 12 {
		if strings.Contains(s.log.String(), secretOf(n)) {
			t.Error("the log holds a secret")
		}
	}
}

func TestAnImportStopsWhereItMust(t *testing.T) {
	many := strings.Repeat("x\n", importFaults+50)
	for _, tt := range []struct {
		name, kind, body string
		fails            error
		want             string
	}{
		{"other columns", "text/csv", "id,key\na," + secretOf(1) + "\n", nil, "1 stopped malformed the first line names the columns, device and secret"},
		{"no columns", "text/csv", "a," + secretOf(1) + "\n", nil, "1 stopped malformed the first line names the columns, device and secret"},
		{"the wrong file", "application/jsonl", many, nil, "1000 stopped invalid 1000 lines were refused"},
		{"the store does not take it", "text/csv", "device,secret\na," + secretOf(1) + "\n", command.Errorf(command.CodeUnavailable, "the disk is full"), "2 stopped unavailable the disk is full"},
		{"a fault of ours", "text/csv", "device,secret\na," + secretOf(1) + "\n", fmt.Errorf("secret %s", secretOf(1)), "2 stopped internal a fault of the server"},
	} {
		d := &desk{}
		d.importAll = func(proofs []device.Proof, _ bool, _ string) ([]device.Imported, error) {
			return make([]device.Imported, len(proofs)), tt.fails
		}
		s := serve(t, d, d, Options{})
		got := texts(s.importAll(tt.kind, "", tt.body))
		if last := got[len(got)-1]; last != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, last, tt.want)
		}
	}
}

// While lines come, others are committed, a few at a time, and it is told how
// far it is.
func TestAnImportTellsHowFarItIs(t *testing.T) {
	d := &desk{}
	d.importAll = func(proofs []device.Proof, makeDevices bool, by string) ([]device.Imported, error) {
		if len(proofs) > importGroup || by != "admin-1" || !makeDevices {
			t.Errorf("%d lines at once by %s, %v", len(proofs), by, makeDevices)
		}
		return make([]device.Imported, len(proofs)), nil
	}
	s := serve(t, d, d, Options{})
	body, lines := io.Pipe()
	req, err := http.NewRequest("POST", s.url+"/v1/credentials/import?make_devices=true", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Authorization", "Bearer "+s.tokens["admin"])
	send := func(from, n int) {
		for i := range n {
			fmt.Fprintf(lines, "d%d,%s\n", from+i, secretOf(from+i))
		}
	}
	go func() {
		fmt.Fprintln(lines, "device,secret")
		send(0, importNotes+2*importGroup)
	}()
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := bufio.NewReader(resp.Body)
	line, err := answer.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	first := notes(t, line)[0]
	if first.Done || first.SoFar == nil || first.SoFar.Added < importNotes || first.SoFar.Added != first.Line-1 {
		t.Errorf("while lines come: %+v", first)
	}
	send(importNotes+2*importGroup, 5)
	lines.Close()
	rest, err := io.ReadAll(answer)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("%d done {%d 0 0}", importNotes+2*importGroup+6, importNotes+2*importGroup+5)}
	if diff := cmp.Diff(texts(notes(t, string(rest))), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// A user has two imports at a time.
func TestImportsAreFew(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	for range importsMax / placesShare {
		s.srv.imports.take("admin-1")
	}
	r := s.do(ask{name: "a third", as: "admin", method: "POST", path: "/v1/credentials/import", body: "device,secret\n", header: map[string]string{"Content-Type": "text/csv"}})
	if r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
}
