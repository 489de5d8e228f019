// Package view holds what the API and the console say and hear: the request
// and answer types in JSON, and how they become the core's types and back.
//
// Names are snake_case. Instants are RFC 3339 in UTC and absent when there is
// none. Lengths of time are written as Go writes them, with "d" for days:
// "1095d", "90m", "1d12h" (see [ParseDuration]). In requests, lengths and
// networks are plain strings, so that a conversion can name all that is wrong
// with a request at once:
//
//	var p credential.Problems
//	nets := view.ParseNetworks("allowed_ips", req.AllowedIPs, &p)
//	ttl := view.ParseTTL("ttl", req.TTL, &p)
//	if err := p.Err(); err != nil {
//		return err // names allowed_ips[0], allowed_ips[2] and ttl
//	}
//
// What is shown once, a token or a private key, is a [Secret]: it is written
// to JSON and nowhere else.
package view

import "time"

// Secret is a text that only JSON gets to see: every printer shows ***.
type Secret string

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// Page is one page of a list. NextCursor is empty on the last one; otherwise
// the same request with it as "cursor" gives the next.
type Page[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Give it as cursor to get the next page; absent on the last"`
}

// NewPage converts the items of a page.
func NewPage[F, T any](from []F, next string, convert func(F) T) Page[T] {
	items := make([]T, len(from))
	for i, f := range from {
		items[i] = convert(f)
	}
	return Page[T]{Items: items, NextCursor: next}
}

// instant is t in UTC; zero stays zero, which JSON leaves out.
func instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// list is l, or an empty list for none, so that JSON never says null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
