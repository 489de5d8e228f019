package outbound

import (
	"errors"
	"io"
	"net/http"
)

// Bounds of an answer on the wire.
const (
	maxHead    = 16 << 10
	maxInterim = 8         // answers of 1xx before the real one
	maxChunked = 512 << 10 // a body with what chunks add
)

// meter bounds what is read until it is set again.
type meter struct {
	from io.Reader
	left int
}

func (m *meter) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	n, err := m.from.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

var errTooLong = errors.New("more than the meter allows")

// take reads what r says of an answer. ended reports that the rest of it was left on the connection, which is of no use any more.
func (r *reply) take(from *http.Response) (ended bool, err error) {
	r.status, r.kind = from.StatusCode, ""
	if kinds := from.Header["Content-Type"]; len(kinds) == 1 {
		r.kind = kinds[0]
	}
	r.body = r.body[:0]
	for {
		if len(r.body) > maxBody {
			if r.status == http.StatusOK {
				return true, errTooLarge
			}
			return true, nil // what the body says is of no interest
		}
		if len(r.body) == cap(r.body) {
			r.body = append(r.body, 0)[:len(r.body)]
		}
		n, err := from.Body.Read(r.body[len(r.body):min(cap(r.body), maxBody+1)])
		r.body = r.body[:len(r.body)+n]
		switch {
		case len(r.body) > maxBody: // even if that was the end
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, errTooLong):
			return true, errTooLarge
		case err != nil:
			return true, err
		}
	}
}
