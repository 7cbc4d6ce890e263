package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"behest/command/ledger"
)

// metrics are what Prometheus is told: counters that the rooms keep anyway,
// read when it asks. No label ever names a device.
type metrics struct {
	system *system
	descs  map[string]*prometheus.Desc
}

// metricsHandler serves the system's metrics, and the process's own.
func (s *system) metricsHandler() http.Handler {
	r := prometheus.NewRegistry()
	b := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "behest_build_info", Help: "What the server is made of; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
	})
	info.Set(1)
	r.MustRegister(info, newMetrics(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// help says what each metric counts, and which label it has.
var help = []struct{ name, text, label string }{
	{"behest_solo", "1 while who asks for a command may be among those who approve it (--solo).", ""},
	{"behest_clock_held", "1 while nothing is sent and nothing expires, because the clock is in doubt.", ""},
	{"behest_clock_step_seconds", "How far the server's time is ahead of the system's clock.", ""},
	{"behest_coap_datagrams_total", "CoAP messages, plain and over DTLS.", "direction"},
	{"behest_coap_requests_total", "Requests that reached a handler.", ""},
	{"behest_coap_limited_total", "Requests that were answered 4.29 because their device asked too fast.", ""},
	{"behest_coap_ignored_total", "Datagrams that came to nothing, by why.", "reason"},
	{"behest_coap_confirmables_total", "First transmissions of notifications and separate responses.", ""},
	{"behest_coap_retransmissions_total", "Later transmissions.", ""},
	{"behest_coap_exchanges_total", "Exchanges with devices that ended, by how.", "outcome"},
	{"behest_coap_unsent_total", "Datagrams that were not sent, by why.", "reason"},
	{"behest_coap_exchanges", "Exchanges with devices under way.", ""},
	{"behest_coap_peers", "Addresses heard of within the exchange lifetime.", ""},
	{"behest_coap_receive_dropped_total", "Datagrams that the system dropped before the server read them.", ""},
	{"behest_dtls_sessions", "Devices' DTLS sessions.", ""},
	{"behest_dtls_cookies_total", "ClientHellos that were asked for a cookie, and cost no more.", ""},
	{"behest_dtls_handshakes", "Handshakes under way.", ""},
	{"behest_dtls_handshakes_total", "Handshakes that ended, by how.", "outcome"},
	{"behest_dtls_ignored_total", "Datagrams of the DTLS socket that came to nothing, by why.", "reason"},
	{"behest_dtls_moves_total", "Address changes of sessions, and new addresses that have shown to receive.", "step"},
	{"behest_dtls_unsent_total", "Records that were not sent, by why.", "reason"},
	{"behest_http_certificate_end_seconds", "When the certificate of HTTPS ends, in seconds since 1970.", ""},
	{"behest_oidc_tokens_total", "Tokens of the identity provider, by what came of them; unsure: its keys were not there.", "outcome"},
	{"behest_oidc_fetches_total", "Times that the identity provider was asked for its keys.", "outcome"},
	{"behest_oidc_keys_timestamp_seconds", "When it gave those that are used, in seconds since 1970; absent before.", ""},
	{"behest_webhook_attempts_total", "Attempts to tell a webhook of an event, by what came of it.", "outcome"},
	{"behest_webhook_given_up_total", "Events that a webhook did not take in all attempts.", ""},
	{"behest_webhook_lag_events", "Events of the log that a webhook that is enabled has not got to.", "webhook"},
	{"behest_store_commits_total", "Groups of work that are on disk.", ""},
	{"behest_store_members_total", "Units of work in them.", ""},
	{"behest_store_events_total", "Events in them.", ""},
	{"behest_events_total", "The same, by what happened: execution.succeeded, device.unreachable, ...", "type"},
	{"behest_store_refused_total", "Units of work that failed by themselves.", ""},
	{"behest_store_doubts_total", "Commits whose outcome was unknown.", ""},
	{"behest_store_waiting", "Units of work that wait for a commit.", "lane"},
	{"behest_store_removed_total", "What was over for longer than --keep and is gone.", "what"},
	{"behest_store_oldest_timestamp_seconds", "When the oldest that is kept was made; absent if there is none.", "what"},
	{"behest_store_commit_seconds", "Time that COMMIT took.", ""},
}

// laneNames are the lanes of the store's queue, as labels.
var laneNames = [ledger.LaneEnd]string{"reports", "deliveries", "issues", "registrations", "expiries", "retention"}

func newMetrics(s *system) *metrics {
	m := &metrics{system: s, descs: make(map[string]*prometheus.Desc, len(help))}
	for _, h := range help {
		var labels []string
		if h.label != "" {
			labels = []string{h.label}
		}
		m.descs[h.name] = prometheus.NewDesc(h.name, h.text, labels, nil)
	}
	return m
}

// Describe tells the registry what there is.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		out <- d
	}
}

// Collect reads the rooms' counters.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.collectClock(sender{m, out})
	m.collectCoAP(sender{m, out})
	m.collectDTLS(sender{m, out})
	m.collectStore(sender{m, out})
	m.collectWebhooks(sender{m, out})
	m.collectOIDC(sender{m, out})
	if cert := m.system.cert; cert != nil {
		sender{m, out}.gauge("behest_http_certificate_end_seconds", int(cert.until().Unix()))
	}
}

// sender sends metrics by name.
type sender struct {
	m   *metrics
	out chan<- prometheus.Metric
}

func (s sender) counter(name string, v uint64, label ...string) {
	s.out <- prometheus.MustNewConstMetric(s.m.descs[name], prometheus.CounterValue, float64(v), label...)
}

func (s sender) gauge(name string, v int, label ...string) {
	s.out <- prometheus.MustNewConstMetric(s.m.descs[name], prometheus.GaugeValue, float64(v), label...)
}

func (m *metrics) collectClock(s sender) {
	held, solo := 0, 0
	if m.system.config.Solo {
		solo = 1
	}
	s.gauge("behest_solo", solo)
	if m.system.clock.Held() {
		held = 1
	}
	s.gauge("behest_clock_held", held)
	s.out <- prometheus.MustNewConstMetric(m.descs["behest_clock_step_seconds"], prometheus.GaugeValue, m.system.clock.Ahead().Seconds())
}

func (m *metrics) collectCoAP(s sender) {
	c := m.system.coap.Stats()
	s.counter("behest_coap_datagrams_total", c.Received, "in")
	s.counter("behest_coap_datagrams_total", c.Sent, "out")
	s.counter("behest_coap_requests_total", c.Requests)
	s.counter("behest_coap_limited_total", m.system.coap.Limited())
	for reason, n := range map[string]uint64{
		"malformed": c.Malformed, "truncated": c.Truncated, "duplicate": c.Duplicates, "bad_option": c.BadOptions,
		"overload": c.Refused, "unproven": c.Challenged, "stray": c.Strays, "ping": c.Pings, "panic": c.Panics,
	} {
		s.counter("behest_coap_ignored_total", n, reason)
	}
	s.counter("behest_coap_confirmables_total", c.Confirmables)
	s.counter("behest_coap_retransmissions_total", c.Retransmissions)
	for outcome, n := range map[string]uint64{"acked": c.Acked, "reset": c.Reset, "silent": c.Silent, "stopped": c.Stopped} {
		s.counter("behest_coap_exchanges_total", n, outcome)
	}
	for reason, n := range map[string]uint64{"amplification": c.Throttled, "outbox_full": c.Overflowed, "socket": c.SendErrors} {
		s.counter("behest_coap_unsent_total", n, reason)
	}
	s.gauge("behest_coap_exchanges", c.Exchanges)
	s.gauge("behest_coap_peers", c.Peers)
	dropped := uint64(m.system.udp.Dropped())
	if m.system.secured != nil {
		dropped += uint64(m.system.secured.udp.Dropped())
	}
	s.counter("behest_coap_receive_dropped_total", dropped)
}

func (m *metrics) collectDTLS(s sender) {
	if m.system.secured == nil {
		return
	}
	c := m.system.secured.dtls.Stats()
	s.gauge("behest_dtls_sessions", c.Sessions)
	s.counter("behest_dtls_cookies_total", c.Asked)
	s.gauge("behest_dtls_handshakes", c.Handshaking)
	failed := c.Failed - min(c.Failed, c.WrongKeys) // these are counted twice
	for outcome, n := range map[string]uint64{"finished": c.Handshakes, "failed": failed, "wrong_key": c.WrongKeys} {
		s.counter("behest_dtls_handshakes_total", n, outcome)
	}
	for reason, n := range map[string]uint64{
		"garbage": c.Garbage, "shed": c.Shed, "pushed_out": c.Pushed, "disowned": c.Disowned, "overflow": c.Overflowed, "truncated": c.Truncated,
	} {
		s.counter("behest_dtls_ignored_total", n, reason)
	}
	s.counter("behest_dtls_moves_total", c.Moved, "moved")
	s.counter("behest_dtls_moves_total", c.Proven, "proven")
	for reason, n := range map[string]uint64{"amplification": c.Throttled, "no_session": c.Unsent, "socket": c.SendErrors} {
		s.counter("behest_dtls_unsent_total", n, reason)
	}
}

func (m *metrics) collectStore(s sender) {
	c := m.system.store.Stats()
	s.counter("behest_store_commits_total", uint64(c.Commits))
	s.counter("behest_store_members_total", uint64(c.Members))
	s.counter("behest_store_events_total", uint64(c.Events))
	for kind, n := range c.ByType {
		s.counter("behest_events_total", uint64(n), string(kind))
	}
	s.counter("behest_store_refused_total", uint64(c.Refused))
	s.counter("behest_store_doubts_total", uint64(c.Doubts))
	for lane, n := range c.Waiting {
		s.gauge("behest_store_waiting", n, laneNames[lane])
	}
	for what, n := range map[string]int64{
		"command": c.Removed.Commands, "execution": c.Removed.Executions, "report": c.Removed.Reports,
		"event": c.Removed.Events, "answer": c.Removed.Answers,
	} {
		s.counter("behest_store_removed_total", uint64(n), what)
	}
	m.collectOldest(s)
	buckets, count := map[float64]uint64{}, uint64(0)
	for _, class := range c.ByTime {
		count += uint64(class.Count)
		if class.Bound > 0 {
			buckets[class.Bound.Seconds()] = count
		}
	}
	s.out <- prometheus.MustNewConstHistogram(m.descs["behest_store_commit_seconds"], count, c.InCommit.Seconds(), buckets)
}

// oldestWait is how long a scrape waits for a connection of the store.
const oldestWait = time.Second

// collectOldest asks the store; while that recovers, there is nothing to tell.
func (m *metrics) collectOldest(s sender) {
	ctx, cancel := context.WithTimeout(context.Background(), oldestWait)
	defer cancel()
	event, made, err := m.system.store.Oldest(ctx)
	if err != nil {
		return
	}
	for what, at := range map[string]time.Time{"event": event, "command": made} {
		if !at.IsZero() {
			s.out <- prometheus.MustNewConstMetric(m.descs["behest_store_oldest_timestamp_seconds"], prometheus.GaugeValue, float64(at.UnixMilli())/1000, what)
		}
	}
}
