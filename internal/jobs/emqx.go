package jobs

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// cursorSetting is the sequence number of the last event that the cluster knows of.
const cursorSetting = "emqx.cursor"

// Store is what the jobs need of the database.
type Store interface {
	credential.Feed
	credential.Lookup
	Principal(ctx context.Context, org, ref string) (credential.Principal, error)
	Principals(ctx context.Context, f credential.PrincipalFilter) ([]credential.Principal, string, error)
	Credentials(ctx context.Context, f credential.CredentialFilter) ([]credential.Listed, string, error)
	Events(ctx context.Context, f credential.EventFilter) ([]credential.Event, error)
	Setting(ctx context.Context, name string) (string, error)
	Commit(ctx context.Context, c credential.Change) ([]credential.Event, error)
	Exclusive(ctx context.Context, name string, fn func(context.Context) error) error
}

// EMQXConfig is what an EMQX is made of.
type EMQXConfig struct {
	Store  Store
	Org    string       // whose clients the cluster serves; "": the default one
	URL    string       // of the management API, without /api/v5
	Key    string       // of the API, made in EMQX's dashboard
	Secret string       // that belongs to it
	Client *http.Client // with a timeout, and without redirects
	Log    *slog.Logger
	// Pause is waited after the first failure, and doubled after each further one up to PauseMost. 0: 1 s, and 1 min.
	Pause, PauseMost time.Duration
}

// EMQX is the job. See the package comment.
type EMQX struct {
	c       EMQXConfig
	api     *emqxAPI
	seen    int64 // the last event that was looked at; what concerns the cluster among those is done
	metrics *emqxMetrics
	said    map[string]time.Time // when a failure was logged last, by its cause
}

// NewEMQX returns a job that does nothing until it is run.
func NewEMQX(c EMQXConfig) (*EMQX, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, credential.Errorf(credential.Invalid, "the URL of EMQX's API must be like https://host:18083, without user, query and fragment")
	}
	if c.Store == nil || c.Client == nil || c.Key == "" || c.Secret == "" {
		return nil, errors.New("jobs: EMQX needs a store, a client, a key and a secret")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Org == "" {
		c.Org = credential.DefaultOrg
	}
	if c.Pause <= 0 {
		c.Pause, c.PauseMost = time.Second, time.Minute
	}
	api := &emqxAPI{client: c.Client, base: strings.TrimSuffix(c.URL, "/") + "/api/v5", key: c.Key, secret: c.Secret}
	return &EMQX{c: c, api: api, metrics: newEMQXMetrics(), said: map[string]time.Time{}}, nil
}

// Run returns when ctx ends.
func (j *EMQX) Run(ctx context.Context) {
	pause, begun := j.c.Pause, false
	for ctx.Err() == nil {
		var more bool
		var err error
		if !begun {
			err = j.c.Store.Exclusive(ctx, "emqx", j.begin)
			begun, more = err == nil, true
		} else {
			more, err = j.advance(ctx)
		}
		switch {
		case err != nil:
			j.failed(ctx, err)
			sleep(ctx, pause)
			pause = min(2*pause, max(j.c.PauseMost, j.c.Pause))
		case !more:
			pause = j.c.Pause
			_ = j.c.Store.Wait(ctx, j.seen) // its only error is that ctx has ended
		default:
			pause = j.c.Pause
		}
	}
}

// begin finds out where the work was left. A job that never ran before begins at the end of the
// feed: of what was before, the cluster has asked.
func (j *EMQX) begin(ctx context.Context) error {
	at, err := j.cursor(ctx)
	if err != nil || at >= 0 {
		j.seen = max(at, 0)
		return err
	}
	_, head, err := j.c.Store.Since(ctx, math.MaxInt64, 1)
	if err != nil {
		return err
	}
	j.seen = head
	return j.save(ctx, head)
}

// cursor reads the setting; -1 if there is none.
func (j *EMQX) cursor(ctx context.Context) (int64, error) {
	text, err := j.c.Store.Setting(ctx, cursorSetting)
	if err != nil || text == "" {
		return -1, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, credential.Errorf(credential.Internal, "the setting %s is no number", cursorSetting)
	}
	return n, nil
}

func (j *EMQX) save(ctx context.Context, at int64) error {
	_, err := j.c.Store.Commit(ctx, credential.Change{Ops: []credential.Op{
		credential.PutSetting{Name: cursorSetting, Value: strconv.FormatInt(at, 10)},
	}})
	return err
}

// batch is how many events are looked at together.
const batch = 500

// advance looks at the next events, and does what they demand. It reports whether there may be more.
func (j *EMQX) advance(ctx context.Context) (more bool, err error) {
	events, err := j.c.Store.Events(ctx, credential.EventFilter{After: j.seen, Limit: batch})
	if err != nil || len(events) == 0 {
		return false, err
	}
	last := events[len(events)-1].Seq
	if !j.concern(events) { // most do not, and need no lock
		j.seen = last
		return true, nil
	}
	err = j.c.Store.Exclusive(ctx, "emqx", j.work)
	return true, err
}

func (j *EMQX) concern(events []credential.Event) bool {
	for i := range events {
		if events[i].Org == j.c.Org && effectOf(&events[i]) != none {
			return true
		}
	}
	return false
}

// work does what the events after the cursor demand, and moves the cursor. Another node may have done some of it.
func (j *EMQX) work(ctx context.Context) error {
	at, err := j.cursor(ctx)
	if err != nil {
		return err
	}
	j.seen = max(at, j.seen)
	events, err := j.c.Store.Events(ctx, credential.EventFilter{After: j.seen, Limit: batch})
	if err != nil || len(events) == 0 {
		return err
	}
	if j.concern(events) {
		if err := j.tell(ctx, events); err != nil {
			return err
		}
	}
	last := events[len(events)-1].Seq
	if err := j.save(ctx, last); err != nil {
		return err
	}
	j.seen = last
	return nil
}

// tell has the cluster forget its answers, and then end the sessions that those have let in: the other way round they
// could come back by an answer that is kept.
func (j *EMQX) tell(ctx context.Context, events []credential.Event) error {
	who, err := j.whom(ctx, events)
	if err != nil {
		return err
	}
	if err := j.api.forget(ctx); err != nil {
		return err
	}
	clients, err := j.api.find(ctx, who)
	if err != nil {
		return err
	}
	if err := j.api.kick(ctx, clients); err != nil {
		return err
	}
	j.metrics.kicked.Add(float64(len(clients)))
	now := time.Now()
	for i := range events {
		if events[i].Org == j.c.Org && effectOf(&events[i]) != none {
			j.metrics.took(now.Sub(events[i].At))
		}
	}
	if len(clients) > 0 {
		j.c.Log.Info("EMQX ended sessions whose rights have changed", "clients", len(clients), "until", events[len(events)-1].Seq)
	}
	return nil
}

// failed logs a failure, one of a cause in a minute.
func (j *EMQX) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	j.metrics.failures.Inc()
	cause := err.Error()
	if call, ok := errors.AsType[*callError](err); ok {
		cause = call.cause()
	}
	if time.Since(j.said[cause]) < time.Minute {
		return
	}
	if len(j.said) > 100 { // causes are few; if not, some are said more often
		clear(j.said)
	}
	j.said[cause] = time.Now()
	j.c.Log.Error("EMQX could not be told of a change: sessions may go on there that should not; it is tried again", "error", err)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
