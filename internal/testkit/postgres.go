package testkit

import (
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// shared is the server of this test process that [Postgres] makes databases on.
// It lives as long as the process: its keeper sees the process go.
var shared = sync.OnceValues(func() (*PostgresServer, error) { return startPostgres(false) })

// Postgres returns the URL of a new, empty database on a PostgreSQL that all
// tests of the process share. Its server does not sync, so it is for tests that
// do not pull the plug of the database itself; for those there is [NewPostgres].
func Postgres(t testing.TB) string {
	t.Helper()
	p, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return p.Database(t)
}

// PostgresServer is a PostgreSQL of its own, on a socket in a temporary folder.
// Nothing of it is left behind, even if the test process is killed.
type PostgresServer struct {
	dir     string // data and socket
	bin     string
	durable bool
	cred    *syscall.Credential // who it runs as; nil: as the tests do
	made    atomic.Int64        // databases

	keeper *exec.Cmd
	rope   io.WriteCloser // the keeper stops the server when this is closed
}

// NewPostgres starts a server for one test. A durable one syncs what it commits.
func NewPostgres(t testing.TB, durable bool) *PostgresServer {
	t.Helper()
	p, err := startPostgres(durable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		os.RemoveAll(p.dir)
	})
	return p
}

// Database makes a new database and returns its URL. The password in it is
// not needed by the server; it is there to be looked for in logs.
func (p *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("test_%d", p.made.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return p.url(name)
}

func (p *PostgresServer) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", "pg-password-to-hide"), Path: "/" + database}
	u.RawQuery = url.Values{"host": {p.dir}}.Encode()
	return u.String()
}

// Socket returns the path of the socket it listens on, for tests that put a proxy in between.
func (p *PostgresServer) Socket() string { return filepath.Join(p.dir, ".s.PGSQL.5432") }

// Stop stops the server at once, as a crash would. Its data stay until the test ends.
func (p *PostgresServer) Stop() {
	if p.keeper == nil {
		return
	}
	_, _ = io.WriteString(p.rope, "keep")
	p.rope.Close()
	_ = p.keeper.Wait()
	p.keeper = nil
}

// startPostgres makes the data folder and starts a server on it.
func startPostgres(durable bool) (*PostgresServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	p := &PostgresServer{dir: dir, bin: bin, durable: durable}
	if err := p.init(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := p.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return p, nil
}

// postgresBin finds the newest PostgreSQL of the machine.
func postgresBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", fmt.Errorf("PostgreSQL is not installed: run the tests by `make test`, which installs what they need")
}

// init makes the data folder. PostgreSQL refuses to run as root, so root's tests run it as the user that Debian made for it.
func (p *PostgresServer) init() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: run the tests by `make test`")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(p.dir, uid, gid); err != nil {
			return err
		}
	}
	cmd := p.command(filepath.Join(p.bin, "initdb"), "-D", filepath.Join(p.dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (p *PostgresServer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred, Setpgid: true}
	return cmd
}

// keeperScript runs the server until its own input ends, which happens when the
// test says so and when the test process goes, of whatever cause. Then it stops the server. If the last
// word was not "keep", nobody is left to remove the folder, so it does.
const keeperScript = `dir=$1; shift
"$@" >"$dir/log" 2>&1 &
server=$!
word=$(cat)
kill -QUIT $server
wait $server
[ "$word" = keep ] || exec rm -rf "$dir"
`

// Start starts the server again after Stop.
func (p *PostgresServer) Start() error {
	args := []string{
		filepath.Join(p.bin, "postgres"), "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-h", "", "-p", "5432",
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "unix_socket_permissions=0777",
	}
	if !p.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	cmd := p.command("/bin/sh", append([]string{"-c", keeperScript, "keeper", p.dir}, args...)...)
	rope, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.keeper, p.rope = cmd, rope
	return p.ready()
}

// ready waits until the server answers.
func (p *PostgresServer) ready() error {
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	p.Stop()
	return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, strings.TrimSpace(string(log)))
}
