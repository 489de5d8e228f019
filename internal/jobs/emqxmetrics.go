package jobs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// emqxMetrics is what the job counts.
type emqxMetrics struct {
	latency  prometheus.Histogram
	last     prometheus.Gauge
	kicked   prometheus.Counter
	failures prometheus.Counter
}

func newEMQXMetrics() *emqxMetrics {
	return &emqxMetrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cardea_emqx_change_seconds", Help: "From a change until EMQX has forgotten its answers and ended the sessions",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}),
		last:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "cardea_emqx_last_change_seconds", Help: "The same of the last change"}),
		kicked:   prometheus.NewCounter(prometheus.CounterOpts{Name: "cardea_emqx_kicked_total", Help: "Clients that EMQX was told to end"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "cardea_emqx_failures_total", Help: "Attempts to tell EMQX of changes that failed, and were repeated"}),
	}
}

func (m *emqxMetrics) took(d time.Duration) {
	m.latency.Observe(d.Seconds())
	m.last.Set(d.Seconds())
}

// Collectors are what the job counts, for /metrics.
func (j *EMQX) Collectors() []prometheus.Collector {
	m := j.metrics
	return []prometheus.Collector{m.latency, m.last, m.kicked, m.failures}
}
