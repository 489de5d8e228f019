package grpcdoor

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// healthProto is what grpcurl must know to ask for health without reflection, which needs a credential.
const healthProto = `syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; } ServingStatus status = 1; }
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
`

// The documented session with grpcurl: -cacert alone is what a client must
// know of the server, then a certificate, a deleted one, an expired one, a token.
func TestGrpcurl(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	tool := filepath.Join(dir, "grpcurl")
	// the version that tools/go.mod names; built once, and then out of Go's cache
	if out, err := exec.Command("go", "build", "-modfile=../../tools/go.mod", "-o", tool, "github.com/fullstorydev/grpcurl/cmd/grpcurl").CombinedOutput(); err != nil {
		t.Fatalf("grpcurl does not build: %v\n%s", err, out)
	}
	save := func(name, text string) string {
		path := filepath.Join(dir, name)
		w.must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	root := save("root.pem", string(w.auth.TrustAnchor()))
	curl := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, tool, append([]string{"-cacert", root, "-max-time", "20"}, args...)...).CombinedOutput()
		return string(out), err
	}
	const method = "cardea.v1.Gate/WhoAmI"
	b, _ := w.key("myapp01")
	cert := []string{"-cert", save("cert.pem", string(b.Certificate.Certificate)), "-key", save("key.pem", b.Certificate.PrivateKey.Reveal())}

	if out, err := curl("-proto", "gate.proto", "-import-path", "../../proto/cardea/v1", w.addr, method); err == nil || !strings.Contains(out, "Unauthenticated") {
		t.Errorf("-cacert alone: %v %s", err, out)
	}
	if out, err := curl("-proto", "health.proto", "-import-path", filepath.Dir(save("health.proto", healthProto)), w.addr, "grpc.health.v1.Health/Check"); err != nil || !strings.Contains(out, "SERVING") {
		t.Errorf("health with -cacert alone: %v %s", err, out)
	}
	out, err := curl(append(cert, w.addr, method)...) // by reflection
	var who struct{ Principal, Org string }
	if err != nil || json.Unmarshal([]byte(out), &who) != nil || who.Principal != "myapp01" || who.Org != "default" {
		t.Errorf("certificate: %v %s", err, out)
	}
	if out, err := curl("-H", "authorization: Bearer "+b.Token.Secret.Reveal(), w.addr, "list"); err != nil || !strings.Contains(out, "cardea.v1.Gate\n") {
		t.Errorf("token: %v %s", err, out)
	}
	if out, err := curl("-plaintext", w.addr, method); err == nil {
		t.Errorf("plain text: %s", out)
	}
	old, _ := w.key("myapp02")
	oldCert := []string{"-cert", save("old_cert.pem", string(old.Certificate.Certificate)), "-key", save("old_key.pem", old.Certificate.PrivateKey.Reveal())}
	_, err = w.auth.Revoke(t.Context(), w.local, old.Certificate.Credential.ID, "")
	w.must(err)
	if out, err := curl(append(oldCert, w.addr, method)...); err == nil || !strings.Contains(out, "bad certificate") {
		t.Errorf("deleted: %v %s", err, out)
	}
	if out, err := curl(append(cert, w.addr, method)...); err != nil {
		t.Errorf("the other one still: %v %s", err, out)
	}
	w.must(w.auth.DeletePrincipal(t.Context(), w.local, "myapp01", "sold"))
	if out, err := curl(append(cert, w.addr, method)...); err == nil || !strings.Contains(out, "bad certificate") {
		t.Errorf("its device deleted: %v %s", err, out)
	}
	last, _ := w.key("myapp03")
	lastCert := []string{"-cert", save("last_cert.pem", string(last.Certificate.Certificate)), "-key", save("last_key.pem", last.Certificate.PrivateKey.Reveal())}
	if out, err := curl(append(lastCert, w.addr, method)...); err != nil {
		t.Errorf("before its end: %v %s", err, out)
	}
	w.clock.add(time.Until(last.Certificate.Credential.ExpiresAt) + time.Minute)
	if out, err := curl(append(lastCert, w.addr, method)...); err == nil || !strings.Contains(out, "bad certificate") {
		t.Errorf("expired: %v %s", err, out)
	}
}
