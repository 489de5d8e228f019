// Package docs holds no code: its test runs what the documents tell people to type.
package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A document says in its first lines in which surroundings its commands run:
//
//	<!-- run: demo -->   beside a `cardea demo`, in an empty folder; --data is ./cardea-demo
//	<!-- run: serve -->  beside a `cardea serve` on ./cardea-data
//	<!-- run: shell -->  in an empty folder, no server
//
// Its `console` blocks are then run in order, in one shell. A line that begins
// with "$ " is a command (a trailing \ goes on); the lines below it are what it
// prints, where … stands for anything. It must succeed, unless it ends with the
// comment "# refused". One that ends with "# soon" is about something that happens a
// moment later: it is repeated until it prints what it should. Ports of the contract stand for those that the
// test's server really got.
var runMark = regexp.MustCompile(`<!-- run: (demo|serve|shell)((?: --[^ ]+)*) -->`)

func TestDocuments(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "cardea")
	build := exec.Command("go", "build", "-o", bin, "./cmd/cardea")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, file := range documents(t, root) {
		t.Run(strings.TrimPrefix(file, root+"/"), func(t *testing.T) { runDocument(t, root, bin, file) })
	}
}

func documents(t *testing.T, root string) []string {
	t.Helper()
	files := []string{filepath.Join(root, "README.md")}
	for _, glob := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	return files
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

type step struct {
	line    int
	command string
	want    string
}

func runDocument(t *testing.T, root, bin, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	steps := consoleSteps(string(text))
	mark := runMark.FindStringSubmatch(string(text))
	if len(steps) == 0 {
		return
	}
	if mark == nil {
		t.Fatalf("%s has console blocks but no <!-- run: … --> line, so nothing would run them", file)
	}
	dir := t.TempDir()
	ports := strings.NewReplacer()
	if mark[1] != "shell" {
		ports = startServer(t, bin, dir, mark[1], strings.Fields(mark[2]))
	}
	sh := newShell(t, dir, filepath.Dir(bin), root)
	for _, s := range steps {
		want := strings.TrimSpace(ports.Replace(s.want))
		got, status := sh.run(t, ports.Replace(s.command))
		if strings.HasSuffix(s.command, "# soon") {
			for end := time.Now().Add(patience); !matches(want, strings.TrimSpace(got)) && time.Now().Before(end); {
				time.Sleep(50 * time.Millisecond)
				got, status = sh.run(t, ports.Replace(s.command))
			}
		}
		if refused := strings.HasSuffix(s.command, "# refused"); refused == (status == "0") {
			t.Errorf("%s:%d: $ %s\nexit status %s\n%s", file, s.line, s.command, status, got)
		}
		if !matches(want, strings.TrimSpace(got)) {
			t.Errorf("%s:%d: $ %s\n--- printed\n%s\n--- the document says\n%s", file, s.line, s.command, got, want)
		}
	}
}

// consoleSteps returns the commands of all console blocks with what they should print.
func consoleSteps(text string) []step {
	var steps []step
	in, more := false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			in, more = strings.HasPrefix(line, "```console"), false
		case !in:
		case more:
			last := &steps[len(steps)-1]
			last.command += "\n" + line
			more = strings.HasSuffix(line, `\`)
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
			more = strings.HasSuffix(line, `\`)
		case len(steps) > 0:
			steps[len(steps)-1].want += line + "\n"
		}
	}
	return steps
}

// matches compares with … standing for anything, line breaks included.
func matches(want, got string) bool {
	parts := strings.Split(want, "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, `.*`) + `$`).MatchString(got)
}

// startServer starts the real binary on free ports and returns what turns the
// contract's ports into those.
func startServer(t *testing.T, bin, dir, command string, extra []string) *strings.Replacer {
	t.Helper()
	data := map[string]string{"demo": "cardea-demo", "serve": "cardea-data"}[command]
	ready := filepath.Join(dir, ".ready")
	args := append([]string{
		command, "--data", data, "--ready-file", ready, "--http-listen", "127.0.0.1:0",
		"--mqtt-listen", "127.0.0.1:0", "--mqtt-tls-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0",
	}, extra...)
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
		}
	})
	var at struct{ HTTP, GRPC, Console, MQTT, MQTTS string }
	for {
		if raw, err := os.ReadFile(ready); err == nil && json.Unmarshal(raw, &at) == nil {
			return strings.NewReplacer("127.0.0.1:5654", at.HTTP, "127.0.0.1:5655", at.GRPC, "127.0.0.1:5656", at.Console,
				"-p 5653", "-p "+port(at.MQTT), "-p 5657", "-p "+port(at.MQTTS))
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("cardea %s ended: %v\n%s", command, err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// port is the one of an address of the loopback.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// shell is one bash that runs a document's commands one after the other.
type shell struct {
	in  io.Writer
	out chan string
}

const endMark = "-- end of command -- "

func newShell(t *testing.T, dir, path, root string) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "CARDEA_SOURCE="+root, "LC_ALL=C.UTF-8", "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	s := &shell{in: stdin, out: make(chan string)}
	go s.read(r)
	t.Cleanup(func() { _ = stdin.Close(); cancel(); _ = cmd.Wait() })
	return s
}

// read cuts what the shell prints at the end marks.
func (s *shell) read(r *os.File) {
	defer close(s.out)
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		for {
			before, after, found := bytes.Cut(all, []byte(endMark))
			status, after, whole := bytes.Cut(after, []byte("\n"))
			if !found || !whole {
				break
			}
			s.out <- string(status)
			s.out <- string(before)
			all = append([]byte(nil), after...)
		}
		if err != nil {
			return
		}
	}
}

// run returns what a command prints and its exit status.
func (s *shell) run(t *testing.T, command string) (out, status string) {
	t.Helper()
	if _, err := fmt.Fprintf(s.in, "%s\necho \"%s$?\"\n", command, endMark); err != nil {
		t.Fatal(err)
	}
	status, open := <-s.out
	if !open {
		t.Fatalf("the shell ended at: %s", command)
	}
	return <-s.out, status
}

// The two commands that the README begins with exist, and the first does the
// main job: a server that is ready.
func TestMakeServe(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	cmd := exec.Command("make", "serve", "ARGS=--data "+filepath.Join(dir, "data")+" --ready-file "+ready+
		" --http-listen 127.0.0.1:0 --mqtt-listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 --console-listen 127.0.0.1:0", "BIN=bin/cardea-docs-test")
	cmd.Dir = ".."
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-done
		_ = os.Remove("../bin/cardea-docs-test")
	})
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("make serve ended: %v\n%s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	err := <-done
	done <- err
	for _, want := range []string{"HTTP token authentication enabled", "MQTT token authentication enabled", "MQTT         127.0.0.1:", "admin.token"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("make serve does not say %q:\n%s", want, out)
		}
	}
}
