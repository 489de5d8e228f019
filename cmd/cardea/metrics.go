package main

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// collectors are what /metrics shows of the node beside the gate's counters.
func (n *node) collectors() []prometheus.Collector {
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cardea_ready", Help: "1 if every door accepts and the database answers, as /readyz says",
	}, func() float64 {
		if n.readiness() != nil {
			return 0
		}
		return 1
	})
	all := []prometheus.Collector{ready, newChainMetrics(n.gate.Authenticators)}
	if n.doors.mqtt != nil {
		all = append(all, newNumbers(n.doors.mqtt.Stats, doorNumbers))
	}
	if n.broker != nil {
		all = append(all, newNumbers(n.broker.Stats, brokerNumbers))
	}
	if n.external != nil {
		all = append(all, newNumbers(n.upstreamStats, upstreamNumbers))
	}
	if n.emqx != nil {
		all = append(all, n.emqx.Collectors()...)
	}
	if n.config.DB != "" {
		return all
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cardea_sqlite_bytes", Help: "Size of the database with its write-ahead log",
	}, func() float64 {
		path := databasePath(n.config.Data)
		return fileSize(path) + fileSize(path+"-wal")
	})
	return append(all, size)
}

// fileSize is 0 for a file that is not there.
func fileSize(path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
