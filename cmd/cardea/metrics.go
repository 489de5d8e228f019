package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"cardea/internal/gate"
)

// metrics shows what the gate counts. No label holds a name, an address or anything secret (K18).
type metrics struct {
	gate     *gate.Gate
	refusals *prometheus.Desc
	rest     []metric
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(gate.Stats) float64
}

func newMetrics(g *gate.Gate) *metrics {
	counter := func(name, help string, of func(gate.Stats) int64) metric {
		return metric{prometheus.NewDesc("cardea_"+name+"_total", help, nil, nil), prometheus.CounterValue, func(s gate.Stats) float64 { return float64(of(s)) }}
	}
	gauge := func(name, help string, of func(gate.Stats) float64) metric {
		return metric{prometheus.NewDesc("cardea_"+name, help, nil, nil), prometheus.GaugeValue, of}
	}
	return &metrics{
		gate:     g,
		refusals: prometheus.NewDesc("cardea_refusals_total", "Refused requests by the exact reason", []string{"reason"}, nil),
		rest: []metric{
			counter("accepted", "Accepted authentications", func(s gate.Stats) int64 { return s.Hits }),
			counter("lookups", "Look-ups in the database", func(s gate.Stats) int64 { return s.Fills }),
			counter("lookup_failures", "Look-ups that the database did not answer", func(s gate.Stats) int64 { return s.Failures }),
			counter("evictions", "Credentials that were dropped from the cache for lack of room", func(s gate.Stats) int64 { return s.Evictions }),
			counter("cuts", "Live sessions that were cut", func(s gate.Stats) int64 { return s.Cuts }),
			gauge("cache_entries", "Credentials in the cache", func(s gate.Stats) float64 { return float64(s.Entries) }),
			gauge("cache_bytes", "Bytes of the cache", func(s gate.Stats) float64 { return float64(s.Bytes) }),
			gauge("sessions", "Live sessions", func(s gate.Stats) float64 { return float64(s.Sessions) }),
			gauge("revision", "Revision up to which changes were applied", func(s gate.Stats) float64 { return float64(s.Applied) }),
			gauge("revision_lag", "Revisions that are not applied yet", func(s gate.Stats) float64 { return float64(s.Lag) }),
			gauge("clock_behind_seconds", "By how much the wall clock was set back", func(s gate.Stats) float64 { return s.ClockBehind.Seconds() }),
		},
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.refusals
	for _, r := range m.rest {
		to <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	s := m.gate.Stats()
	for reason, n := range s.Refusals {
		to <- prometheus.MustNewConstMetric(m.refusals, prometheus.CounterValue, float64(n), reason.String())
	}
	for _, r := range m.rest {
		to <- prometheus.MustNewConstMetric(r.desc, r.kind, r.of(s))
	}
}
