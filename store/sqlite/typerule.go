package sqlite

import (
	"encoding/json"

	"behest/command"
)

// Rules on approval and on the way back are JSON inside the column `rules`.
// What an operator wrote as JSON is kept as the text that it was.

// approvalRule is a command.ApprovalRule.
type approvalRule struct {
	Approvers int             `json:"approvers,omitempty"`
	Role      string          `json:"role,omitempty"`
	When      []ruleCondition `json:"when,omitempty"`
	Groups    []string        `json:"groups,omitempty"`
}

type ruleCondition struct {
	Pointer string   `json:"pointer,omitempty"`
	Above   *float64 `json:"above,omitempty"`
	Below   *float64 `json:"below,omitempty"`
	Equals  string   `json:"equals,omitempty"`
}

// rollbackRule is a command.RollbackRule.
type rollbackRule struct {
	Kind      command.RollbackKind `json:"kind,omitempty"`
	Type      string               `json:"type,omitempty"`
	Params    map[string]string    `json:"params,omitempty"`
	Automatic *command.Threshold   `json:"automatic,omitempty"`
}

// approvalText is r as JSON; nothing for nil.
func approvalText(r *command.ApprovalRule) string {
	if r == nil {
		return ""
	}
	out := approvalRule{Approvers: r.Approvers, Role: r.Role, Groups: r.Groups}
	for _, c := range r.When {
		out.When = append(out.When, ruleCondition{Pointer: c.Pointer, Above: c.Above, Below: c.Below, Equals: string(c.Equals)})
	}
	return textOf(out)
}

func readApproval(text string) (*command.ApprovalRule, error) {
	if text == "" {
		return nil, nil
	}
	var in approvalRule
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, err
	}
	r := &command.ApprovalRule{Approvers: in.Approvers, Role: in.Role, Groups: in.Groups}
	for _, c := range in.When {
		r.When = append(r.When, command.Condition{Pointer: c.Pointer, Above: c.Above, Below: c.Below, Equals: rawOf(c.Equals)})
	}
	return r, nil
}

// rollbackText is r as JSON; nothing for nil.
func rollbackText(r *command.RollbackRule) string {
	if r == nil {
		return ""
	}
	out := rollbackRule{Kind: r.Kind, Type: r.Type, Automatic: r.Automatic}
	for name, raw := range r.Params {
		if out.Params == nil {
			out.Params = make(map[string]string, len(r.Params))
		}
		out.Params[name] = string(raw)
	}
	return textOf(out)
}

func readRollback(text string) (*command.RollbackRule, error) {
	if text == "" {
		return nil, nil
	}
	var in rollbackRule
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, err
	}
	r := &command.RollbackRule{Kind: in.Kind, Type: in.Type, Automatic: in.Automatic}
	for name, text := range in.Params {
		if r.Params == nil {
			r.Params = make(map[string]json.RawMessage, len(in.Params))
		}
		r.Params[name] = rawOf(text)
	}
	return r, nil
}

// textOf is v, which JSON can say.
func textOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func rawOf(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}
