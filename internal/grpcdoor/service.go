package grpcdoor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
	cardeav1 "cardea/proto/cardea/v1"
)

// service is cardea.v1.Gate. Who calls was decided by the interceptor.
type service struct {
	cardeav1.UnimplementedGateServer
	door *Door
}

// WhoAmI answers with the caller's own identity.
func (s *service) WhoAmI(ctx context.Context, _ *cardeav1.WhoAmIRequest) (*cardeav1.WhoAmIResponse, error) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok || c.id == nil {
		return nil, refusal(credential.NoCredential, 0)
	}
	return &cardeav1.WhoAmIResponse{
		Principal: c.id.Principal, PrincipalKind: string(c.id.PrincipalKind), Credential: c.id.Credential,
		Org: c.id.Org, Scopes: c.id.Scopes, ExpiresAt: stamp(c.id.Deadline),
	}, nil
}

// Check answers for a credential that somebody else was shown.
func (s *service) Check(ctx context.Context, r *cardeav1.CheckRequest) (*cardeav1.CheckResponse, error) {
	c, _ := ctx.Value(callerKey{}).(caller)
	if c.id == nil {
		return nil, refusal(credential.NoCredential, 0)
	}
	ev, access, err := s.door.question(r)
	if err != nil {
		return nil, badRequest(err)
	}
	v := s.door.gate.Verify(ctx, c.id.Org, ev, access, false)
	if v.Reason.Class() == credential.CannotKnow {
		return nil, refusal(v.Reason, 0)
	}
	resp := &cardeav1.CheckResponse{Allowed: v.Allowed, Reason: v.Reason.String(), ExpiresAt: stamp(v.Expires)}
	if id := v.Identity; id != nil {
		resp.Principal, resp.PrincipalKind, resp.Credential = id.Principal, string(id.PrincipalKind), id.Credential
		resp.Org, resp.Scopes = id.Org, id.Scopes
	}
	return resp, nil
}

// question reads a request; an error is one of kind Invalid that names all bad fields.
func (d *Door) question(r *cardeav1.CheckRequest) (*gate.Evidence, *policy.Access, error) {
	var p credential.Problems
	ev := &gate.Evidence{Token: r.Token, Door: "grpc"}
	if r.Ip != "" {
		a, err := netip.ParseAddr(r.Ip)
		if err != nil || a.Zone() != "" {
			p.Add("ip", "is not an address such as 10.1.2.3")
		}
		ev.Source = a.Unmap()
	}
	if r.CertificatePem != "" {
		ev.Certificate = d.certificate(r.CertificatePem, &p)
	}
	if r.Token == "" && r.CertificatePem == "" {
		p.Add("token", "is empty, and so is certificate_pem")
	}
	if r.Qos > 2 {
		p.Add("qos", "must be 0, 1 or 2")
	}
	if r.Action == "" {
		if r.Resource != "" {
			p.Add("action", "is empty, but there is a resource")
		}
		return ev, nil, p.Err()
	}
	a, err := policy.ParseAccess(r.Action, r.Resource)
	if e, ok := err.(*credential.Error); ok {
		p = append(p, e.Fields...)
	}
	a.QoS, a.Retain, a.ClientID, a.Source = byte(r.Qos), r.Retain, r.ClientId, ev.Source
	return ev, &a, p.Err()
}

// certificate reads a leaf and verifies its chain, as TLS would have.
func (d *Door) certificate(text string, p *credential.Problems) *x509.Certificate {
	leaf, rest := parseCertificate([]byte(text))
	if leaf == nil {
		p.Add("certificate_pem", "is not a certificate in PEM")
		return nil
	}
	between := x509.NewCertPool()
	for c, rest := parseCertificate(rest); c != nil; c, rest = parseCertificate(rest) {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: d.clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		CurrentTime: leaf.NotAfter, // whether it has begun or ended is for the gate to say, with its reason
	})
	if err != nil || leaf.IsCA {
		p.Add("certificate_pem", "is not a client certificate that this server issued")
		return nil
	}
	return leaf
}

func parseCertificate(text []byte) (*x509.Certificate, []byte) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil
	}
	return c, rest
}

func badRequest(err error) error {
	e, _ := err.(*credential.Error)
	if e == nil {
		return errInternal
	}
	detail := &errdetails.BadRequest{}
	for _, f := range e.Fields {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Field, Description: f.Message})
	}
	st, werr := status.New(codes.InvalidArgument, e.Public()).WithDetails(detail)
	if werr != nil {
		return status.Error(codes.InvalidArgument, e.Public())
	}
	return st.Err()
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
