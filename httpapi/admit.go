package httpapi

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"behest/access"
	"behest/command"
)

// People say who asks, and what of the devices they may see.
type People interface {
	access.Authenticator
	// Sees tells which devices a user sees; nil: all. It is as of now.
	Sees(user string) func(labels map[string]string) bool
	// Changed is closed when an answer of theirs may be another one than before,
	// a token's own end apart. Who takes it before asking misses nothing.
	Changed() <-chan struct{}
}

// admit lets pass who may use the route, and remembers who that is.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rt, ok := s.routes[routeKey(c)]
		if !ok {
			return next(c) // the router's own 404 or 405
		}
		r := c.Request()
		switch {
		case rt.rule.Public == access.Everybody:
			return s.asStranger(next, c)
		case rt.rule.Public == access.OnLoopback && fromLoopback(r):
			return next(c)
		}
		who, err := s.identity(r)
		if err != nil {
			return s.asStranger(func(echo.Context) error { return err }, c)
		}
		aboutOf(r.Context()).who = who
		c.SetRequest(r.WithContext(access.WithOrigin(r.Context(), c.RealIP(), who.Via)))
		if err := s.users.ask(who.User); err != nil {
			return err
		}
		switch {
		case !rt.rule.Roles.Any(who.Roles):
			return command.Errorf(command.CodeForbidden, "this needs one of the roles %s; %s has %s",
				rt.rule.Roles, who.User, who.Roles)
		case rt.rule.Everywhere && !rt.rule.Roles.Any(who.Everywhere):
			return command.Errorf(command.CodeForbidden, "this needs one of the roles %s for all devices; %s has it for some",
				rt.rule.Roles, who.User)
		}
		return next(c)
	}
}

// asStranger goes on with who is known by his address alone, at its pace.
func (s *Server) asStranger(next echo.HandlerFunc, c echo.Context) error {
	if err := s.strangers.ask(neighbourhood(c.RealIP())); err != nil {
		return err
	}
	return next(c)
}

// identity is who the request's token stands for. What was wrong with it is
// not told, where that would help nobody who should be helped.
func (s *Server) identity(r *http.Request) (access.Identity, error) {
	token, ok := bearer(r)
	switch {
	case ok:
	case r.Header.Get("Authorization") == "":
		return access.Identity{}, command.Errorf(command.CodeUnauthenticated, "send the header Authorization: Bearer TOKEN")
	default:
		return access.Identity{}, command.Errorf(command.CodeUnauthenticated, "send one Authorization header, of the scheme Bearer")
	}
	who, err := s.people.Authenticate(r.Context(), token)
	var why access.Refusal
	switch {
	case err == nil:
		return who, nil
	case errors.As(err, &why):
		return access.Identity{}, command.Errorf(command.CodeUnauthenticated, "the token is not valid: %s", why)
	case errors.Is(err, access.ErrCannotTell):
		return access.Identity{}, &command.Error{Code: command.CodeUnavailable, Msg: access.ErrCannotTell.Error(), RetryAfter: retryWait, Err: err}
	case errors.Is(err, access.ErrNoToken), errors.Is(err, access.ErrUnknownToken):
		return access.Identity{}, command.Errorf(command.CodeUnauthenticated, "the token is not valid")
	}
	return access.Identity{}, err
}

// bearer is the token that a request bears, if it bears one.
func bearer(r *http.Request) (token string, ok bool) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer") // [RFC 9110 11.1]
}

// fromLoopback reports whether the caller is on this machine, came in by its
// loopback, and was not passed on by a proxy, behind which anybody may be.
func fromLoopback(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && isLoopback(local.String()) && isLoopback(r.RemoteAddr)
}

func isLoopback(addrPort string) bool {
	a, err := netip.ParseAddrPort(addrPort)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
