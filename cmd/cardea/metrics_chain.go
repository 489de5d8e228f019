package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"cardea/internal/gate"
)

// chainMetrics collects the figures of authenticators: there are few, and their IDs are no secret.
type chainMetrics struct {
	read                               func() []gate.Authenticator
	logins, seconds, questions, broken *prometheus.Desc
}

func newChainMetrics(read func() []gate.Authenticator) *chainMetrics {
	labels := []string{"authenticator", "type", "listener"}
	return &chainMetrics{
		read:      read,
		logins:    prometheus.NewDesc("cardea_authenticator_logins_total", "Logins that came to an authenticator, by what it made of them", append(labels, "result"), nil),
		seconds:   prometheus.NewDesc("cardea_authenticator_login_seconds", "How long a login takes at an authenticator, since the start", append(labels, "quantile"), nil),
		questions: prometheus.NewDesc("cardea_authenticator_questions_total", "Questions to a REST service, by whether it answered as it must", append(labels, "answered"), nil),
		broken:    prometheus.NewDesc("cardea_authenticator_circuit_open", "1 while a REST service is not asked because it failed", labels, nil),
	}
}

// Describe tells what there is.
func (c *chainMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.logins, c.seconds, c.questions, c.broken} {
		to <- d
	}
}

// Collect reads the figures.
func (c *chainMetrics) Collect(to chan<- prometheus.Metric) {
	for _, a := range c.read() {
		put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, more ...string) {
			to <- prometheus.MustNewConstMetric(d, kind, v, append([]string{a.ID, string(a.Type), a.Listener}, more...)...)
		}
		put(c.logins, count, float64(a.Success), "success")
		put(c.logins, count, float64(a.Failed), "failed")
		put(c.logins, count, float64(a.Ignored), "ignored")
		put(c.seconds, gauge, a.Latency.P50.Seconds(), "0.5")
		put(c.seconds, gauge, a.Latency.P99.Seconds(), "0.99")
		if a.Source == nil {
			continue
		}
		put(c.questions, count, float64(a.Source.Questions-a.Source.Failures), "yes")
		put(c.questions, count, float64(a.Source.Failures), "no")
		open := 0.0
		if a.Source.Open {
			open = 1
		}
		put(c.broken, gauge, open)
	}
}
