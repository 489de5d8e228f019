package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardea/internal/testkit"
)

// bench is a demo with commands that are typed beside it.
type bench struct {
	*testing.T
	k   *testkit.Cardea
	dir string
}

func newBench(t *testing.T, args ...string) *bench {
	t.Helper()
	return &bench{t, start(t, testkit.CardeaConfig{Command: "demo", Args: args}), t.TempDir()}
}

// fill puts the demo's addresses where the documented commands have ports of their own.
func (b *bench) fill(line string) string {
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	return strings.NewReplacer("-p 5653", "-p "+port(b.k.MQTT), "-p 5657", "-p "+port(b.k.MQTTS), "127.0.0.1:5654", b.k.HTTP,
		"cardea key", b.k.Bin+" --data "+b.k.Data+" key").Replace(line)
}

// good runs a line, which must succeed and say nothing, or what is wanted.
func (b *bench) good(line, want string) {
	b.Helper()
	out, err := shell(b.dir, b.fill(line))
	if err != nil || !strings.Contains(out, want) || want == "" && out != "" {
		b.Errorf("%s\n%v\nwants %q\n%s", line, err, want, out)
	}
}

// refused runs a line that must fail with words.
func (b *bench) refused(line, words string) {
	b.Helper()
	if out, err := shell(b.dir, b.fill(line)); err == nil || !strings.Contains(out, words) {
		b.Errorf("%s\n%v\nwants %q\n%s", line, err, words, out)
	}
}

// rows waits until a query has the answer that is wanted.
func (b *bench) rows(query, want string) {
	b.Helper()
	token := filepath.Join(b.k.Data, "demo", demoDevice+"_token")
	line := fmt.Sprintf(`curl -s -G -H "Authorization: Bearer $(cat %s)" --data-urlencode "q=%s" http://%s/db/query`, token, query, b.k.HTTP)
	var out string
	defer func() {
		if b.Failed() {
			b.Log(out)
		}
	}()
	eventually(b, query+" is "+want, func() bool {
		out, _ = shell(b.dir, line)
		return strings.Contains(out, `"rows":`+want)
	})
}

const notAuthorised = "Connection Refused: not authorised"

// The reference system's documented commands, by paste: a token as the user name, none, a wrong one; one row and many;
// a client certificate over TLS with the server's certificate alone; and what ends with the key.
func TestDemoDocumentedMQTT(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.good("cardea key gen myapp01 --output ./myapp01", "Save token ./myapp01_token")
	b.good("cardea key server-cert --output ./server.pem", "Save certificate ./server.pem")
	const (
		single = `mosquitto_pub -h 127.0.0.1 -p 5653 --username "$(cat ./myapp01_token)" -t db/write/EXAMPLE -m "[ \"wave.pi\", $(date +%s000000000), 3.1415]"`
		more   = `mosquitto_pub -h 127.0.0.1 -p 5653 --username "$(cat ./myapp01_token)" -t db/append/EXAMPLE -m "[ \"wave.pi\", $(date +%s000000000), 3.1415]"`
		many   = `mosquitto_pub -h 127.0.0.1 -p 5653 --username "$(cat ./myapp01_token)" -t db/append/EXAMPLE -f ./many.json`
		named  = `mosquitto_pub -h 127.0.0.1 -p 5653 --username "$(cat ./myapp01_token)" -t db/write/EXAMPLE -f ./named.json`
		secure = `mosquitto_pub -h 127.0.0.1 -p 5657 --cafile ./server.pem --cert ./myapp01_cert.pem --key ./myapp01_key.pem -t db/append/EXAMPLE -m "[ \"wave.pi\", $(date +%s000000000), 3.1415]"`
	)
	var rows []string
	for i := range 1000 {
		rows = append(rows, fmt.Sprintf(`["many", %d, %d.5]`, 1700000000000000000+i, i))
	}
	b.write("many.json", "[\n"+strings.Join(rows, ",\n")+"\n]\n")
	b.write("named.json", `{"data":{"columns":["name","time","value"],"rows":[["named",1700000000000000000,1],["named",1700000000000000001,2]]}}`)
	for _, line := range []string{single, more, many, named, secure} {
		b.good(line, "")
	}
	b.rows("SELECT NAME, COUNT(*) FROM EXAMPLE GROUP BY NAME", `[["many",1000],["named",2],["wave.pi",3],["wave.sin",10]]`)
	b.rows("SELECT VALUE FROM EXAMPLE WHERE NAME = 'wave.pi'", `[[3.1415],[3.1415],[3.1415]]`)

	b.refused(`mosquitto_pub -h 127.0.0.1 -p 5653 -t db/write/EXAMPLE -m "[]"`, notAuthorised)
	b.refused(`mosquitto_pub -h 127.0.0.1 -p 5653 --username wrong -t db/write/EXAMPLE -m "[]"`, notAuthorised)
	b.refused(`mosquitto_pub -h 127.0.0.1 -p 5657 --cafile ./server.pem -t db/write/EXAMPLE -m "[]"`, "") // no certificate: the handshake fails

	b.good("cardea key del myapp01", "deleted")
	b.refused(single, notAuthorised)
	b.refused(secure, "")
	b.rows("SELECT COUNT(*) FROM EXAMPLE WHERE NAME = 'wave.pi'", `[[3]]`)
}

func (b *bench) write(name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// A key that has expired is refused, by token and by certificate.
func TestDemoExpiredMQTT(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.good("cardea key gen brief --valid 3s --output ./brief", "Save token ./brief_token")
	const (
		plain  = `mosquitto_pub -h 127.0.0.1 -p 5653 --username "$(cat ./brief_token)" -t db/write/EXAMPLE -m '["brief", "now", 1]'`
		secure = `mosquitto_pub -h 127.0.0.1 -p 5657 --cafile %s/demo/server.pem --cert ./brief_cert.pem --key ./brief_key.pem -t db/write/EXAMPLE -m '["brief", "now", 1]'`
	)
	eventually(t, "the token has expired", func() bool {
		out, err := shell(b.dir, b.fill(plain))
		return err != nil && strings.Contains(out, notAuthorised)
	})
	b.refused(fmt.Sprintf(secure, b.k.Data), "")
}
