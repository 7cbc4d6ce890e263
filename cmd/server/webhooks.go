package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/command/dispatch"
	"behest/webhook"
)

// readSecretKey finds the key that belongs to the store, and the webhooks that
// have their secrets from it.
func (s *system) readSecretKey(ctx context.Context) (hooks []command.Hook, key webhook.Key, err error) {
	if hooks, err = s.store.Hooks(ctx); err != nil {
		return nil, key, err
	}
	path := s.config.path(secretKeyFile)
	key, made, err := secretKey(path, len(hooks), s.config.ResetSecretKey)
	if err != nil {
		return nil, key, err
	}
	switch {
	case made && len(hooks) > 0:
		s.log.Warn("another secret key was made: every webhook needs a new secret, and its receiver that secret", "file", path, "webhooks", len(hooks))
	case made:
		s.log.Info("a secret key was made; keep it with the database, and apart from copies of that", "file", path)
	}
	return hooks, key, nil
}

// seal sees to it that what waits in the store is sealed with the secret key.
func (s *system) seal(ctx context.Context) error {
	err := s.dispatch.SealAll(ctx, s.config.ResetSecretKey)
	if errors.Is(err, dispatch.ErrOtherKey) {
		return fmt.Errorf("%s is not the key that the commands in the database were sealed with: %s, or start once with --reset-secret-key, which takes what waits there as it stands",
			s.config.path(secretKeyFile), secretKeyAdvised)
	}
	return err
}

// openWebhooks makes the service that delivers to them.
func (s *system) openWebhooks(hooks []command.Hook, key webhook.Key) {
	enabled := len(hooks)
	for _, h := range hooks {
		if h.Disabled {
			enabled--
			s.log.Warn("a webhook is disabled", "webhook", h.ID, "reason", h.Reason)
		}
	}
	if enabled > 0 {
		s.log.Info("telling webhooks of events", "webhooks", enabled)
	}
	s.webhooks = webhook.New(s.store, s.store, key, webhook.Options{Logger: s.log, Schedule: s.config.WebhookSchedule})
}

// checkSchedule holds the waits between attempts against their bounds.
func checkSchedule(waits []time.Duration) error {
	if n := len(waits); n < 1 || n >= webhook.AttemptsMax {
		return fmt.Errorf("webhook-schedule: %d waits are not 1 to %d", n, webhook.AttemptsMax-1)
	}
	if i := slices.IndexFunc(waits, func(d time.Duration) bool { return d <= 0 || d > command.ClockMax }); i >= 0 {
		return fmt.Errorf("webhook-schedule: %s is not above zero, or over a year", waits[i])
	}
	return nil
}

// statsWithin bounds the look at the log for who asks for metrics.
const statsWithin = 5 * time.Second

func (m *metrics) collectWebhooks(s sender) {
	ctx, cancel := context.WithTimeout(context.Background(), statsWithin)
	defer cancel()
	c, _ := m.system.webhooks.Stats(ctx) // a store that does not answer shows elsewhere
	s.counter("behest_webhook_attempts_total", c.Delivered, "taken")
	s.counter("behest_webhook_attempts_total", c.Failed, "failed")
	s.counter("behest_webhook_given_up_total", c.GivenUp)
	for id, n := range c.Lag {
		s.gauge("behest_webhook_lag_events", int(n), id)
	}
}
