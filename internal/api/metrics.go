package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// metrics has a registry of its own, so that nothing is shown by accident.
func (a *API) metrics() (http.Handler, error) {
	r := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newGateCollector(a.Gate),
	}, a.Collectors...)
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(withoutVersion{r}, promhttp.HandlerOpts{}), nil
}

// withoutVersion leaves out the metric whose label is the version of Go (K18).
type withoutVersion struct{ prometheus.Gatherer }

// Gather gathers all but that.
func (g withoutVersion) Gather() ([]*dto.MetricFamily, error) {
	all, err := g.Gatherer.Gather()
	kept := all[:0]
	for _, f := range all {
		if f.GetName() != "go_info" {
			kept = append(kept, f)
		}
	}
	return kept, err
}

// gateCollector shows the gate's counters.
type gateCollector struct {
	gate     *gate.Gate
	numbers  []number
	refusals *prometheus.Desc
}

type number struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*gate.Stats) float64
}

func newGateCollector(g *gate.Gate) *gateCollector {
	c := &gateCollector{gate: g, refusals: prometheus.NewDesc("cardea_gate_refusals_total", "Refused requests by what their callers could learn", []string{"class"}, nil)}
	add := func(name, help string, kind prometheus.ValueType, of func(*gate.Stats) float64) {
		c.numbers = append(c.numbers, number{prometheus.NewDesc("cardea_gate_"+name, help, nil, nil), kind, of})
	}
	const count, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add("hits_total", "Accepted authentications, a few seconds late", count, func(s *gate.Stats) float64 { return float64(s.Hits) })
	add("misses_total", "Callers that waited for a look-up", count, func(s *gate.Stats) float64 { return float64(s.Misses) })
	add("fill_failures_total", "Look-ups that the store did not answer", count, func(s *gate.Stats) float64 { return float64(s.Failures) })
	add("evictions_total", "Entries that made room for others", count, func(s *gate.Stats) float64 { return float64(s.Evictions) })
	add("entries", "Credentials in the cache", gauge, func(s *gate.Stats) float64 { return float64(s.Entries) })
	add("cache_bytes", "Size of the cache", gauge, func(s *gate.Stats) float64 { return float64(s.Bytes) })
	add("sessions", "Live sessions", gauge, func(s *gate.Stats) float64 { return float64(s.Sessions) })
	add("cuts_total", "Live sessions that were cut", count, func(s *gate.Stats) float64 { return float64(s.Cuts) })
	add("limited_sources", "Sources that got something wrong lately", gauge, func(s *gate.Stats) float64 { return float64(s.Buckets) })
	add("metered_credentials", "Credentials with limits that were used lately", gauge, func(s *gate.Stats) float64 { return float64(s.Meters) })
	add("revision", "Revision of the store that is in force here", gauge, func(s *gate.Stats) float64 { return float64(s.Applied) })
	add("revision_lag", "Revisions that are not in force here yet", gauge, func(s *gate.Stats) float64 { return float64(s.Lag) })
	add("store_seen_timestamp_seconds", "When the store was last seen", gauge, func(s *gate.Stats) float64 {
		if s.LastSeen.IsZero() {
			return 0
		}
		return float64(s.LastSeen.UnixMilli()) / 1000
	})
	add("clock_alarms_total", "How often the wall clock went back", count, func(s *gate.Stats) float64 { return float64(s.ClockAlarms) })
	add("clock_behind_seconds", "By how much the wall clock is behind", gauge, func(s *gate.Stats) float64 { return s.ClockBehind.Seconds() })
	return c
}

// Describe tells what there is.
func (c *gateCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.refusals
	for _, n := range c.numbers {
		to <- n.desc
	}
}

// Collect reads the counters.
func (c *gateCollector) Collect(to chan<- prometheus.Metric) {
	s := c.gate.Stats()
	for _, n := range c.numbers {
		to <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&s))
	}
	var classes [len(classNames)]int64
	for reason, n := range s.Refusals {
		classes[reason.Class()] += n
	}
	for class, name := range classNames {
		to <- prometheus.MustNewConstMetric(c.refusals, prometheus.CounterValue, float64(classes[class]), name)
	}
}

// classNames are the labels of refusals. Anybody may read the metrics, so they do not tell
// unknown, wrong, expired and revoked apart either (E02).
var classNames = [...]string{
	credential.Accepted: "accepted", credential.InvalidRequest: "invalid_request", credential.InvalidToken: "invalid_token",
	credential.Forbidden: "forbidden", credential.SlowDown: "slow_down", credential.CannotKnow: "cannot_know",
}
