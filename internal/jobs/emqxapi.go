package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// emqxAPI is the management API of EMQX, as far as it is needed (its version 5, which EMQX 6 has as well).
type emqxAPI struct {
	client      *http.Client
	base        string
	key, secret string
}

// emqxClient is what the API says of a client.
type emqxClient struct {
	ClientID string `json:"clientid"`
	Username string `json:"username"`
}

type emqxPage struct {
	Data []emqxClient `json:"data"`
	Meta struct {
		HasNext *bool `json:"hasnext"`
	} `json:"meta"`
}

const (
	emqxPageSize = 1000     // clients that are listed or kicked at once
	maxAnswer    = 64 << 20 // bytes of an answer
	maxQuestions = 200      // by name; if there were more, all clients are listed instead
)

// forget drops what the cluster keeps of answers. An older EMQX has no such cache.
func (a *emqxAPI) forget(ctx context.Context) error {
	for _, call := range []struct{ method, path string }{
		{http.MethodPost, "/authentication/node_cache/reset"},
		{http.MethodPost, "/authorization/node_cache/reset"},
		{http.MethodDelete, "/authorization/cache"},
	} {
		if err := a.do(ctx, call.method, call.path, nil, nil); err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}

// find returns the client ids of people, in order.
func (a *emqxAPI) find(ctx context.Context, p *people) ([]string, error) {
	found := map[string]bool{}
	for _, q := range p.questions() {
		if err := a.list(ctx, q, p, found); err != nil {
			return nil, err
		}
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// questions are the queries that list people among others. "like" finds texts anywhere in a value, so
// each client is looked at again.
func (p *people) questions() []url.Values {
	if len(p.names)+2*len(p.devices)+len(p.tokens) > maxQuestions {
		return []url.Values{{}}
	}
	var all []url.Values
	for name := range p.names {
		all = append(all, url.Values{"username": {name}})
	}
	for id := range p.devices {
		all = append(all, url.Values{"clientid": {id}}, url.Values{"like_clientid": {id + ":"}})
	}
	for id := range p.tokens {
		all = append(all, url.Values{"like_username": {id}})
	}
	return all
}

func (a *emqxAPI) list(ctx context.Context, q url.Values, p *people, found map[string]bool) error {
	q.Set("limit", strconv.Itoa(emqxPageSize))
	for n := 1; ; n++ {
		q.Set("page", strconv.Itoa(n))
		var page emqxPage
		if err := a.do(ctx, http.MethodGet, "/clients?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		for i := range page.Data {
			if p.are(&page.Data[i]) {
				found[page.Data[i].ClientID] = true
			}
		}
		next := len(page.Data) >= emqxPageSize // older versions do not say
		if page.Meta.HasNext != nil {
			next = *page.Meta.HasNext && len(page.Data) > 0
		}
		if !next {
			return nil
		}
	}
}

// kick ends the sessions of clients; one by one where EMQX is too old to end many. Those that have left are gone as well.
func (a *emqxAPI) kick(ctx context.Context, clients []string) error {
	for some := range slices.Chunk(clients, emqxPageSize) {
		err := a.do(ctx, http.MethodPost, "/clients/kickout/bulk", some, nil)
		if isMissing(err) {
			err = a.kickEach(ctx, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *emqxAPI) kickEach(ctx context.Context, clients []string) error {
	for _, id := range clients {
		if err := a.do(ctx, http.MethodDelete, "/clients/"+url.PathEscape(id), nil, nil); err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}

// callError is a call that EMQX did not do.
type callError struct {
	method, path string // without the query
	status       int    // 0: no answer
	err          error
}

// cause is what is the same for each failure of a sort.
func (e *callError) cause() string {
	path := e.path
	if strings.HasPrefix(path, "/clients/") {
		path = "/clients/" // what follows is one of many
	}
	return fmt.Sprintf("%s %s %d", e.method, path, e.status)
}

func (e *callError) Error() string {
	what := "EMQX's API: " + e.method + " " + e.path
	switch {
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return fmt.Sprintf("%s: status %d: look whether the API key and its secret are right, and may do this", what, e.status)
	case e.status != 0:
		return fmt.Sprintf("%s: status %d", what, e.status)
	}
	return fmt.Sprintf("%s: %v", what, e.err)
}

func (e *callError) Unwrap() error { return e.err }

// isMissing reports whether a call failed because something is not there.
func isMissing(err error) bool {
	call, ok := errors.AsType[*callError](err)
	return ok && call.status == http.StatusNotFound
}

// do makes one call. Its error is a [callError].
func (a *emqxAPI) do(ctx context.Context, method, path string, body, answer any) error {
	fail := func(status int, err error) error {
		bare, _, _ := strings.Cut(path, "?")
		if u, ok := err.(*url.Error); ok {
			err = u.Err // its text has the query
		}
		return &callError{method: method, path: bare, status: status, err: err}
	}
	var text io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fail(0, err)
		}
		text = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, text)
	if err != nil {
		return fail(0, err)
	}
	r.SetBasicAuth(a.key, a.secret)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return fail(0, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 != 2:
		return fail(resp.StatusCode, nil)
	case err != nil:
		return fail(0, err)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fail(0, fmt.Errorf("the answer is not what it should be: %w", err))
	}
	return nil
}
