package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"cardea/client"
)

// exampleServer issues tokens as `cardea serve` does.
func exampleServer() *issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return startIssuer(&clock{now: time.Now()}, key)
}

// A service calls another one. Its token is got when it is needed, and renewed before it ends.
func ExampleTokenSource() {
	cardea := exampleServer()
	defer cardea.Close()
	things := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("Authorization")[:7])
	}))
	defer things.Close()

	source, err := client.NewTokenSource(client.TokenConfig{
		Issuer:    cardea.URL, // https://cardea.example:5654
		ClientID:  "Cl1ent000001",
		Auth:      client.SecretBasic("cardea_sec_…"),
		Scopes:    []string{"things:read"},
		Resources: []string{"https://things.example"},
	})
	if err != nil {
		log.Fatal(err)
	}
	h := &http.Client{Transport: &client.Transport{Source: source}}
	resp, err := h.Get(things.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
	// Output: Bearer
}

// A key that lives for long is exchanged for tokens that live for minutes, each bound to a key in memory.
func ExampleTokenSource_exchange() {
	cardea := exampleServer()
	defer cardea.Close()

	source, err := client.NewTokenSource(client.TokenConfig{
		Issuer:  cardea.URL,
		Subject: client.Key("cardea_api_…"),
		DPoP:    true,
	})
	if err != nil {
		log.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.TokenType, token.Extra("scope"))
	// Output: DPoP things:read things:write
}

// A service lets in who has a token for it. Nobody is asked about a token: the keys of the issuer are enough.
func ExampleMiddleware() {
	cardea := exampleServer()
	defer cardea.Close()

	verifier, err := client.NewVerifier(client.VerifierConfig{
		Issuer:    cardea.URL,
		Audiences: []string{"https://things.example"},
	})
	if err != nil {
		log.Fatal(err)
	}
	read := client.Middleware(verifier, client.RequireScope("things:read"))
	things := httptest.NewServer(read(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ := client.TokenFrom(r.Context())
		fmt.Println(token.Subject, "comes by", token.ClientID)
	})))
	defer things.Close()

	source, err := client.NewTokenSource(client.TokenConfig{Issuer: cardea.URL, ClientID: "Cl1ent000001", Auth: client.SecretBasic("cardea_sec_…")})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range []*http.Client{{Transport: &client.Transport{Source: source}}, http.DefaultClient} {
		resp, err := h.Get(things.URL)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// pump-1 comes by Cl1ent000001
	// 200
	// 401
}

// The same over gRPC, on both sides.
func ExampleUnaryServerInterceptor() {
	cardea := exampleServer()
	defer cardea.Close()

	verifier, err := client.NewVerifier(client.VerifierConfig{Issuer: cardea.URL, Audiences: []string{"https://things.example"}})
	if err != nil {
		log.Fatal(err)
	}
	certificate, roots := exampleCertificate()
	server := grpc.NewServer(
		grpc.Creds(credentials.NewServerTLSFromCert(&certificate)),
		grpc.UnaryInterceptor(client.UnaryServerInterceptor(verifier, client.RequireScopeFor("/grpc.health.v1.Health/Check", "things:read"))),
		grpc.StreamInterceptor(client.StreamServerInterceptor(verifier, client.RequireScope("things:read"))),
	)
	healthpb.RegisterHealthServer(server, sayWho{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	source, err := client.NewTokenSource(client.TokenConfig{Issuer: cardea.URL, ClientID: "Cl1ent000001", Auth: client.SecretBasic("cardea_sec_…")})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost"})),
		grpc.WithPerRPCCredentials(client.PerRPCCredentials(source)))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
		log.Fatal(err)
	}
	// Output: pump-1
}

func exampleCertificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := certify("things", key)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return cert, roots
}

type sayWho struct {
	healthpb.UnimplementedHealthServer
}

func (sayWho) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	token, _ := client.TokenFrom(ctx)
	fmt.Println(token.Subject)
	return &healthpb.HealthCheckResponse{}, nil
}
