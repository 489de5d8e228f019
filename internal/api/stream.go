package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
)

// exportPage is how many events are read at a time.
const exportPage = 500

type exportIn struct{ EventsIn }

// streamOut is a long answer.
type streamOut struct {
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

func (s *server) export() {
	handle(s, op{
		id: "exportEvents", method: http.MethodGet, path: "/events/export", summary: "All events as NDJSON, the oldest first; an answer that breaks off is not whole",
		right: "events:read on /events/*", example: "after=1000",
	}, func(ctx context.Context, c *caller, in *exportIn) (*streamOut, error) {
		f := in.filter()
		f.Limit = exportPage
		first, err := s.api.Authority.Events(ctx, c.Caller, f)
		if err != nil {
			return nil, err
		}
		return s.stream(c, "application/x-ndjson", "events:read", "/events/*", func(ctx context.Context, w io.Writer) error {
			return s.writeEvents(ctx, c, w, f, first)
		}), nil
	})
}

func (s *server) writeEvents(ctx context.Context, c *caller, w io.Writer, f credential.EventFilter, page []credential.Event) error {
	for len(page) > 0 {
		for i := range page {
			line, err := s.api.EventLine(&page[i])
			if err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		f.After = page[len(page)-1].Seq
		var err error
		if page, err = s.api.Authority.Events(ctx, c.Caller, f); err != nil {
			return err
		}
	}
	return nil
}

// stream answers with what write writes, under the gate's watch: whoever loses the right on the object
// is cut. An error after the beginning cuts the connection too, because the status is gone already.
func (s *server) stream(c *caller, contentType, right, object string, write func(context.Context, io.Writer) error) *streamOut {
	return &streamOut{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if c.id != nil {
			watched, reason := s.api.Gate.Watch(ctx, c.id, gate.Live{
				Door: "api", Kind: "stream", Source: s.api.ClientAddr(r), About: r.Method + " " + r.URL.Path,
				Access: &policy.Access{Proto: policy.API, Verb: right, Resource: object, Source: s.api.ClientAddr(r)},
				Cut: func(credential.Reason) {
					cancel()
					// a peer that does not read holds up a write no longer
					_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
				},
			})
			if reason != credential.OK {
				refusal(reason, 0).write(w)
				return
			}
			defer watched.Close()
		}
		out := &response{ResponseWriter: w}
		w.Header().Set("Content-Type", contentType)
		if err := write(ctx, out); err != nil {
			s.broken(out, r, err)
		}
	}}
}

// broken answers an error as a problem if nothing was written yet.
func (s *server) broken(w *response, r *http.Request, err error) {
	s.api.Log.Error("an answer broke off", "path", r.URL.Path, "err", err)
	if w.wrote {
		panic(http.ErrAbortHandler)
	}
	problemOf(err, "body", false).write(w)
}
