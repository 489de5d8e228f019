package grpcdoor

import (
	"context"
	"time"

	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"cardea/internal/gate"
	cardeav1 "cardea/proto/cardea/v1"
)

// health serves while the gate may decide.
type health struct {
	*grpchealth.Server
	gate *gate.Gate
}

func newHealth(g *gate.Gate) *health { return &health{grpchealth.NewServer(), g} }

// Check answers by the gate as it is now.
func (h *health) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	h.refresh()
	return h.Server.Check(ctx, r)
}

// follow tells those who watch, until stop is closed.
func (h *health) follow(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		h.refresh()
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

func (h *health) refresh() {
	s := healthpb.HealthCheckResponse_NOT_SERVING
	if h.gate.Ready() {
		s = healthpb.HealthCheckResponse_SERVING
	}
	h.SetServingStatus("", s)
	h.SetServingStatus(cardeav1.Gate_ServiceDesc.ServiceName, s)
}
