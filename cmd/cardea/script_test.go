package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	"github.com/rogpeppe/go-internal/testscript"

	"cardea/internal/testkit"
)

var update = flag.Bool("update", false, "write what the commands said into the scripts")

// TestMain makes the commands of this package and its helpers programs that scripts and tests can start.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cardea": main,
		"req":    func() { os.Exit(request(os.Args[1:], os.Stdout)) },
		"mode":   func() { os.Exit(showModes(os.Args[1:], os.Stdout)) },
		"login":  func() { os.Exit(tryLogin(os.Args[1:], os.Stdout)) },
	})
}

// TestScripts runs testdata/*.txtar: each is a specification of commands, with
// a real server where it says `server start`.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CARDEA_DATA", filepath.Join(e.WorkDir, "data"))
			e.Values["server"] = &scriptServer{}
			e.Values["t"] = t
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":  runServer,
			"busy":    bindPort,
			"token":   setToken,
			"service": runService,
		},
	})
}

// scriptServer is the server of one script.
type scriptServer struct{ *testkit.Cardea }

// runServer is the script command `server start ARGS… | stop | kill`. Start sets
// HTTP, HTTPS, GRPC, MQTT, MQTTS and CONSOLE; `! server start` wants it to fail, and its log goes to the file server.log.
func runServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("server").(*scriptServer)
	if len(args) == 0 {
		ts.Fatalf("usage: server start ARGS… | stop | kill")
	}
	switch args[0] {
	case "start":
		s.start(ts, neg, args[1:])
	case "stop":
		if code := s.Stop(); code != 0 {
			ts.Fatalf("the server ended with code %d:\n%s", code, s.Log())
		}
	case "kill":
		s.Kill()
	default:
		ts.Fatalf("server %s?", args[0])
	}
	if s.Cardea != nil {
		ts.Check(os.WriteFile(ts.MkAbs("server.log"), []byte(s.Log()), 0o600))
	}
}

func (s *scriptServer) start(ts *testscript.TestScript, neg bool, args []string) {
	t := ts.Value("t").(testing.TB)
	bin, err := exec.LookPath("cardea")
	ts.Check(err)
	s.Cardea = testkit.NewCardea(t, testkit.CardeaConfig{
		Bin: bin, Data: ts.Getenv("CARDEA_DATA"), Args: args, Quiet: true,
		Env: []string{"CARDEA_CONFIG=" + ts.Getenv("CARDEA_CONFIG"), "KEYSTORE_PW=" + ts.Getenv("KEYSTORE_PW")},
	})
	ts.Defer(s.Kill)
	switch err := s.Start(); {
	case err == nil && neg:
		ts.Fatalf("the server has started")
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	}
	ts.Setenv("HTTP", "http://"+s.HTTP)
	ts.Setenv("HTTPS", "https://"+s.HTTP)
	ts.Setenv("GRPC", s.GRPC)
	ts.Setenv("MQTT", s.MQTT)
	ts.Setenv("MQTTS", s.MQTTS)
	ts.Setenv("CONSOLE", "http://"+s.Console)
}

// bindPort is `busy NAME`: it takes a port for the length of the script and sets NAME to its address.
func bindPort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// setToken is `token NAME FILE`: the variable gets the first line of the file.
func setToken(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	ts.Setenv(args[0], line)
}

// runService is `service USER FILE`: a REST service that knows a user for SCRAM-SHA-256, with the password in a file. How it is asked goes to service.json.
func runService(ts *testscript.TestScript, _ bool, args []string) {
	t := ts.Value("t").(testing.TB)
	u := startService(t)
	password := strings.TrimSpace(ts.ReadFile(args[1]))
	u.put(t, scram256, proof{args[0], password}, map[string]any{"acl": only("plant")[1:]})
	ts.Check(os.WriteFile(ts.MkAbs("service.json"), u.settings(scram256), 0o600))
}

// tryLogin is the program `login METHOD ADDRESS USER PASSWORD-FILE`: it connects by SCRAM and leaves.
func tryLogin(args []string, out io.Writer) int {
	if len(args) != 4 {
		return 2
	}
	password, err := os.ReadFile(args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := scramLogin{login: login{addr: args[1], id: args[2]}, method: args[0], proof: proof{args[2], strings.TrimSpace(string(password))}}
	client, _, err := l.connectPaho(ctx, paho.ClientConfig{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(out, "connected")
	_ = client.Disconnect(&paho.Disconnect{})
	return 0
}

// request is the program `req METHOD URL [token-file [body]]`: it prints the status and the body.
func request(args []string, out io.Writer) int {
	if len(args) < 2 {
		return 2
	}
	var body io.Reader = http.NoBody
	if len(args) > 3 {
		body = strings.NewReader(args[3])
	}
	r, err := http.NewRequestWithContext(context.Background(), args[0], args[1], body)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(args) > 2 && args[2] != "-" {
		token, err := os.ReadFile(args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		r.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	}
	if len(args) > 3 {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	fmt.Fprintln(out, resp.StatusCode)
	_, _ = io.Copy(out, resp.Body)
	return 0
}

// showModes is the program `mode FILE…`: one line each, as in 0600 name.
func showModes(paths []string, out io.Writer) int {
	for _, p := range paths {
		info, err := os.Lstat(p)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Fprintf(out, "%04o %s\n", info.Mode().Perm(), filepath.Base(p))
	}
	return 0
}
