package httpapi

import (
	"context"

	"behest/command"
)

// Who is limited to a part of the devices reads as if there were no others: a
// device that he does not see, and a command that goes to none that he sees,
// are not found. What he sees and may not do is forbidden.

// sees is which devices the user who asks sees; nil: all.
func (s *Server) sees(ctx context.Context) command.Sees { return s.people.Sees(userOf(ctx)) }

// look is a command as the user who asks sees it.
func (s *Server) look(ctx context.Context, id command.ID) (command.View, error) {
	return s.reads.CommandSeen(ctx, id, s.sees(ctx))
}

// visible refuses a command that the user who asks does not see.
func (s *Server) visible(ctx context.Context, id command.ID) error {
	if s.sees(ctx) == nil {
		return nil // whether it is there is seen by who does something with it
	}
	_, err := s.look(ctx, id)
	return err
}

// shown is a command that a use case answered with, as the user who asks sees
// it.
func (s *Server) shown(ctx context.Context, v command.View) (command.View, error) {
	if v.Command == nil || s.sees(ctx) == nil {
		return v, nil
	}
	return s.look(ctx, v.Command.ID)
}

// stands is a refusal that comes with the command as it stands, if the user who
// asks sees it.
func (s *Server) stands(ctx context.Context, refused error, v command.View) error {
	v, err := s.shown(ctx, v)
	if err != nil {
		return refused
	}
	return standing{refused, v}
}

// seesDevice reports whether the user who asks sees the device of that name. A
// device that is not there nobody sees.
func (s *Server) seesDevice(ctx context.Context, name string) (bool, error) {
	sees := s.sees(ctx)
	if sees == nil {
		return true, nil
	}
	v, err := s.reads.Device(ctx, name)
	if err != nil && command.CodeOf(err) == command.CodeNotFound {
		return false, nil
	}
	return err == nil && sees(v.Labels), err
}
