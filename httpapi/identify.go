package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"behest/access"
)

// about is what is known of a request while it is served.
type about struct {
	id    string          // names it in the answer and in the log
	who   access.Identity // zero: nobody yet, or nobody needed
	asked [32]byte        // digest of the body, if it bears an Idempotency-Key
	echo  echo.Context
}

type aboutKey struct{}

func aboutOf(ctx context.Context) *about {
	a, _ := ctx.Value(aboutKey{}).(*about)
	if a == nil {
		a = new(about)
	}
	return a
}

func requestID(ctx context.Context) string { return aboutOf(ctx).id }

// userOf is the name of who asked.
func userOf(ctx context.Context) string { return aboutOf(ctx).who.User }

// Headers of every answer. There is nothing here to frame, to script, to
// sniff, or to keep in a cache.
var securityHeaders = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
}

// identify gives a request its id and its headers, catches its panic, and
// writes the line that the log keeps of it: no query, no header, no body,
// because any of them may hold a secret.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		var random [8]byte
		_, _ = rand.Read(random[:]) // never fails
		a := &about{id: hex.EncodeToString(random[:]), echo: c}
		r := c.Request()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), aboutKey{}, a)))
		h := c.Response().Header()
		for name, value := range securityHeaders {
			h.Set(name, value)
		}
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000") // [RFC 6797]
		}
		h.Set("X-Request-Id", a.id)
		if err := caught(next, c); err != nil {
			s.refuse(err, c)
		}
		s.logRequest(c, a, time.Since(start))
		return nil
	}
}

// caught turns a panic into an error: it costs one request.
func caught(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			panic(p) // net/http's own way to drop a connection
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return next(c)
}

func (s *Server) logRequest(c echo.Context, a *about, took time.Duration) {
	r, status := c.Request(), c.Response().Status
	level := slog.LevelDebug
	switch {
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	s.log.LogAttrs(r.Context(), level, "request",
		slog.String("request_id", a.id), slog.String("method", r.Method), slog.String("path", access.Masked(r.URL.Path)),
		slog.Int("status", status), slog.Int64("bytes", c.Response().Size), slog.Duration("took", took),
		slog.String("user", a.who.User), slog.String("via", a.who.Via), slog.String("remote", c.RealIP()))
}

// logged is slog behind the standard library's error log.
type logged struct{ log *slog.Logger }

func (l logged) Write(b []byte) (int, error) {
	l.log.Warn("http server", "err", errors.New(string(b)))
	return len(b), nil
}
