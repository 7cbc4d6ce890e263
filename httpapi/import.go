package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"behest/command"
	"behest/device"
)

// Limits of an import.
const (
	importLines     = 1_000_000
	importLineBytes = 8 << 10 // a certificate in JSON, each line end escaped
	importGroup     = 32      // lines in a commit: a few milliseconds of the writer, so that nobody waits
	importNotes     = 1024    // lines between two words of how far it is
	importFaults    = 1000    // refused lines: who has more has the wrong file
)

// importing is an import that goes on. It reads, commits and answers in turn,
// and holds no more than a group.
type importing struct {
	h           handlers
	ctx         context.Context
	makeDevices bool
	parse       func(line []byte) (device.Proof, error)
	in          *bufio.Reader
	control     *http.ResponseController
	out         *json.Encoder

	line   int // that was read last
	noted  int // up to which it was said how far it is
	counts ImportCounts
	proofs []device.Proof
	lines  []int // of the proofs
}

func (h handlers) ImportCredentials(ctx context.Context, r ImportCredentialsRequestObject) (ImportCredentialsResponseObject, error) {
	i := &importing{h: h, ctx: ctx, in: bufio.NewReaderSize(r.Body, importLineBytes), makeDevices: r.Params.MakeDevices != nil && *r.Params.MakeDevices}
	switch mediaOf(aboutOf(ctx).echo.Request().Header.Values("Content-Type")) {
	case "application/jsonl":
		i.parse = proofInJSON
	case "text/csv":
		i.parse = i.header
	default:
		return nil, command.Errorf(command.CodeMediaType, "send Content-Type: application/jsonl or text/csv, in UTF-8")
	}
	return i, nil
}

// VisitImportCredentialsResponse does the work: the answer begins when the first
// bytes are there. From then on, what goes wrong is said in its last line.
func (i *importing) VisitImportCredentialsResponse(w http.ResponseWriter) error {
	user := userOf(i.ctx)
	if !i.h.imports.take(user) {
		return &command.Error{Code: command.CodeTooMany, Msg: "other imports are under way", RetryAfter: retryWait}
	}
	defer i.h.imports.leave(user)
	i.control, i.out = http.NewResponseController(w), json.NewEncoder(w)
	if err := i.control.EnableFullDuplex(); err != nil {
		return fmt.Errorf("answer while the body comes: %w", err)
	}
	if _, err := i.in.Peek(1); err != nil {
		return unread(err, importBodyMax)
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	end := ImportNote{Done: true}
	if err := i.all(); err != nil {
		end = ImportNote{Stopped: faultOf(err, "")}
	}
	end.Line, end.SoFar = i.line, &i.counts
	if err := i.say(end); err != nil {
		i.h.log.DebugContext(i.ctx, "import broken off", "request_id", requestID(i.ctx), "err", err)
	}
	return nil
}

// all imports all lines. An error stops it, after what was committed.
func (i *importing) all() error {
	for {
		line, err := i.next()
		if errors.Is(err, io.EOF) {
			return i.commit()
		}
		if err == nil && len(line) == 0 {
			continue
		}
		var p device.Proof
		if err == nil {
			p, err = i.parse(line)
		}
		var stop stopError
		switch {
		case errors.As(err, &stop):
			return errors.Join(i.commit(), stop.error)
		case err != nil:
			if err := i.refuse(i.line, p.Device, err); err != nil {
				return errors.Join(i.commit(), err)
			}
		case p.Device != "":
			i.proofs, i.lines = append(i.proofs, p), append(i.lines, i.line)
		}
		if len(i.proofs) == importGroup {
			if err := i.commit(); err != nil {
				return err
			}
		}
	}
}

// stopError is one after which no line can be read.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

// next reads a line, without its end. What is too long is passed over.
func (i *importing) next() ([]byte, error) {
	if i.line == importLines {
		if _, err := i.in.Peek(1); err == nil {
			return nil, stopError{command.Errorf(command.CodeTooLarge, "there are over %d lines", importLines)}
		}
		return nil, io.EOF
	}
	line, err := i.in.ReadSlice('\n')
	if len(line) > 0 {
		i.line++
	}
	long := errors.Is(err, bufio.ErrBufferFull)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = i.in.ReadSlice('\n')
	}
	switch {
	case err != nil && !(errors.Is(err, io.EOF) && len(line) > 0):
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, stopError{unread(err, importBodyMax)}
	case long:
		return nil, command.Errorf(command.CodeTooLarge, "the line is over %d bytes", importLineBytes)
	}
	line = bytes.TrimRight(line, "\r\n")
	if i.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // as spreadsheets write it
	}
	if !utf8.Valid(line) {
		return nil, command.Errorf(command.CodeMalformed, "the line is not UTF-8")
	}
	return line, nil
}

// commit commits what was gathered, and says what became of it.
func (i *importing) commit() error {
	if i.h.closing.Err() != nil {
		return command.Errorf(command.CodeUnavailable, "the server is shutting down")
	}
	if len(i.proofs) > 0 {
		results, err := i.h.use.ImportCredentials(i.ctx, i.proofs, i.makeDevices, userOf(i.ctx))
		if err != nil {
			return err
		}
		for n, r := range results {
			switch {
			case r.Err != nil:
				if err := i.refuse(i.lines[n], i.proofs[n].Device, r.Err); err != nil {
					return err
				}
			case r.Already:
				i.counts.Already++
			default:
				i.counts.Added++
			}
		}
	}
	clear(i.proofs) // the secrets
	i.proofs, i.lines = i.proofs[:0], i.lines[:0]
	if i.line-i.noted >= importNotes {
		i.noted = i.line
		counts := i.counts
		if err := i.say(ImportNote{Line: i.line, SoFar: &counts}); err != nil {
			return err
		}
	}
	return setReadDeadline(i.control, time.Now().Add(bodyWithin)) // from group to group
}

// refuse says why a line was refused.
func (i *importing) refuse(line int, device string, why error) error {
	i.counts.Refused++
	if err := i.say(ImportNote{Line: line, Refused: faultOf(why, device)}); err != nil {
		return err
	}
	if i.counts.Refused >= importFaults {
		return command.Errorf(command.CodeInvalid, "%d lines were refused", i.counts.Refused)
	}
	return nil
}

// say writes a line of the answer.
func (i *importing) say(n ImportNote) error {
	if err := i.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := i.out.Encode(n); err != nil {
		return err
	}
	return i.control.Flush()
}

// faultOf is what is told of an error. What nobody classified says nothing.
func faultOf(err error, device string) *ImportFault {
	var known *command.Error
	if !errors.As(err, &known) {
		known = command.Errorf(command.CodeInternal, "a fault of the server")
	}
	f := &ImportFault{Code: ErrorCode(known.Code), Detail: known.Msg, Device: device}
	for _, field := range known.Fields {
		f.Detail += fmt.Sprintf("; %s %s", field.Pointer, field.Detail)
	}
	return f
}

// proofInJSON reads a line of JSON.
func proofInJSON(line []byte) (p device.Proof, err error) {
	if _, faults := strict(line); len(faults) > 0 {
		return p, malformed(faults...)
	}
	var in struct {
		Device string          `json:"device"`
		Kind   *CredentialKind `json:"kind"`
		Secret *string         `json:"secret"`
		Pem    string          `json:"pem"`
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return p, command.Errorf(command.CodeMalformed, "the line is not an object of device, kind, secret and pem")
	}
	if what := device.CheckName(in.Device); what != "" {
		return p, malformed(command.Field{Pointer: "/device", Detail: what})
	}
	kind := CredentialKindPsk
	if in.Kind != nil {
		kind = *in.Kind
	}
	return proofIn(in.Device, CredentialRule{Kind: kind, Secret: in.Secret, Pem: in.Pem})
}

// header reads the line that names the columns, after which the others are read.
func (i *importing) header(line []byte) (p device.Proof, err error) {
	columns, err := fields(line)
	if err != nil {
		return p, stopError{err}
	}
	name, secret := slices.Index(columns, "device"), slices.Index(columns, "secret")
	if len(columns) != 2 || name < 0 || secret < 0 {
		return p, stopError{command.Errorf(command.CodeMalformed, "the first line names the columns, device and secret")}
	}
	i.parse = func(line []byte) (device.Proof, error) {
		values, err := fields(line)
		if err != nil {
			return device.Proof{}, err
		}
		if len(values) != 2 {
			return device.Proof{}, command.Errorf(command.CodeMalformed, "the line has %d fields, not 2", len(values))
		}
		if what := device.CheckName(values[name]); what != "" {
			return device.Proof{}, malformed(command.Field{Pointer: "/device", Detail: what})
		}
		return proofIn(values[name], CredentialRule{Kind: CredentialKindPsk, Secret: &values[secret]})
	}
	return p, nil
}

// fields are those of a line of CSV [RFC 4180].
func fields(line []byte) ([]string, error) {
	values, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil {
		return nil, command.Errorf(command.CodeMalformed, "the line is not CSV")
	}
	return values, nil
}
