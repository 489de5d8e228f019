package authority

import (
	"fmt"
	"testing"

	"cardea/internal/credential"
)

// Credentials created a second, durable, one by one with 8 clients and in batches of 500.
func BenchmarkCreate(b *testing.B) {
	h := newHouse(b)
	for i := range 8 {
		h.principal(credential.Device, fmt.Sprintf("d%d", i))
	}
	wish := NewCredential{Kind: credential.DeviceToken, Principal: "d1", TTL: day}
	b.Run("8 clients", func(b *testing.B) {
		b.SetParallelism(4) // times 2 processors
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := h.CreateCredential(b.Context(), h.local, wish); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "credentials/s")
	})
	b.Run("batches of 500", func(b *testing.B) {
		wishes := make([]NewCredential, 500)
		for i := range wishes {
			wishes[i] = wish
		}
		for b.Loop() {
			if _, err := h.CreateCredentials(b.Context(), h.local, wishes); err != nil {
				b.Error(err)
			}
		}
		b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "credentials/s")
	})
}
