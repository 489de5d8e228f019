package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"cardea/internal/broker"
	"cardea/internal/mqttdoor"
)

// number is one metric that is taken from a part's Stats.
type number[S any] struct {
	name, help string
	kind       prometheus.ValueType
	of         func(*S) float64
}

const (
	count = prometheus.CounterValue
	gauge = prometheus.GaugeValue
)

// numbers is a collector of them, which reads all at the same moment. None of
// them is about one client: whoever scrapes would see how many there are.
type numbers[S any] struct {
	read  func() S
	all   []number[S]
	descs []*prometheus.Desc
}

func newNumbers[S any](read func() S, all []number[S]) *numbers[S] {
	c := &numbers[S]{read: read, all: all}
	for _, n := range all {
		c.descs = append(c.descs, prometheus.NewDesc("cardea_mqtt_"+n.name, n.help, nil, nil))
	}
	return c
}

// Describe tells what there is.
func (c *numbers[S]) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect reads the counters.
func (c *numbers[S]) Collect(to chan<- prometheus.Metric) {
	s := c.read()
	for i, n := range c.all {
		to <- prometheus.MustNewConstMetric(c.descs[i], n.kind, n.of(&s))
	}
}

type doorStats = mqttdoor.Stats

var doorNumbers = []number[doorStats]{
	{"sessions", "Live MQTT sessions", gauge, func(s *doorStats) float64 { return float64(s.Sessions) }},
	{"connects_total", "CONNECTs that were accepted", count, func(s *doorStats) float64 { return float64(s.Connects) }},
	{"refused_connects_total", "CONNECTs that were refused", count, func(s *doorStats) float64 { return float64(s.Refused) }},
	{"malformed_connects_total", "Connections that did not begin with a good CONNECT", count, func(s *doorStats) float64 { return float64(s.Malformed) }},
	{"late_connects_total", "Connections without a CONNECT in time", count, func(s *doorStats) float64 { return float64(s.Late) }},
	{"turned_away_connections_total", "Connections for which there was no room, or of a source that failed too often", count, func(s *doorStats) float64 { return float64(s.TurnedAway) }},
	{"failed_handshakes_total", "TLS handshakes that failed", count, func(s *doorStats) float64 { return float64(s.Handshakes) }},
	{"violations_total", "Sessions that broke the protocol", count, func(s *doorStats) float64 { return float64(s.Violations) }},
	{"broker_refusals_total", "Sessions that the broker refused", count, func(s *doorStats) float64 { return float64(s.BrokerRefused) }},
	{"wills_total", "Wills that were published", count, func(s *doorStats) float64 { return float64(s.Wills) }},
	{"received_messages_total", "Messages that clients sent", count, func(s *doorStats) float64 { return float64(s.MessagesIn) }},
	{"delivered_messages_total", "Messages that were sent to clients", count, func(s *doorStats) float64 { return float64(s.MessagesOut) }},
	{"received_bytes_total", "Bytes that clients sent", count, func(s *doorStats) float64 { return float64(s.BytesIn) }},
	{"sent_bytes_total", "Bytes that were sent to clients", count, func(s *doorStats) float64 { return float64(s.BytesOut) }},
	{"denied_total", "Messages, filters and deliveries that the rules did not allow", count, func(s *doorStats) float64 { return float64(s.Denied) }},
}

type brokerStats = broker.Stats

// brokerNumbers are of the embedded broker.
var brokerNumbers = []number[brokerStats]{
	{"broker_connections", "Connections that the embedded broker serves", gauge, func(s *brokerStats) float64 { return float64(s.Connections) }},
	{"broker_sessions", "Sessions, live or not", gauge, func(s *brokerStats) float64 { return float64(s.Sessions) }},
	{"broker_lasting_sessions", "Sessions that outlive their connections", gauge, func(s *brokerStats) float64 { return float64(s.Lasting) }},
	{"broker_subscriptions", "Subscriptions", gauge, func(s *brokerStats) float64 { return float64(s.Subscriptions) }},
	{"broker_retained_messages", "Retained messages", gauge, func(s *brokerStats) float64 { return float64(s.Retained) }},
	{"broker_waiting_messages", "Messages that wait in sessions", gauge, func(s *brokerStats) float64 { return float64(s.Waiting) }},
	{"broker_held_bytes", "Size of the messages that wait or are retained", gauge, func(s *brokerStats) float64 { return float64(s.Held) }},
	{"broker_disk_bytes", "Size of the broker's files", gauge, func(s *brokerStats) float64 { return float64(s.DiskBytes) }},
	{"broker_failing", "1 if what should be on disk cannot be written", gauge, func(s *brokerStats) float64 { return truth(s.Failing) }},
	{"broker_dropped_deliveries_total", "Deliveries at QoS 0 that a client could not take, and messages larger than it takes", count, func(s *brokerStats) float64 { return float64(s.Dropped) }},
	{"broker_refused_messages_total", "Messages at QoS 1 and 2 that did not fit into a queue, or could not be taken", count, func(s *brokerStats) float64 { return float64(s.Refused) }},
	{"broker_expired_messages_total", "Messages whose time was over before they could be delivered", count, func(s *brokerStats) float64 { return float64(s.Expired) }},
	{"broker_panics_total", "Connections that ended because of a fault of the broker", count, func(s *brokerStats) float64 { return float64(s.Panics) }},
}

type upstreamStats struct {
	down     bool
	failures uint64
}

// upstreamStats are what is known of a broker of somebody else's.
func (n *node) upstreamStats() upstreamStats {
	return upstreamStats{n.external.Down(), n.external.Failures()}
}

var upstreamNumbers = []number[upstreamStats]{
	{"upstream_down", "1 if the broker behind the door could not be reached the last time", gauge, func(s *upstreamStats) float64 { return truth(s.down) }},
	{"upstream_failures_total", "How often that broker could not be reached", count, func(s *upstreamStats) float64 { return float64(s.failures) }},
}

func truth(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
