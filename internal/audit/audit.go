// Package audit gives the log of events its chain, and checks it.
//
// Every event carries the hash of the event before it and its own. Whoever
// alters, removes, adds or moves an event has to recompute every hash after it,
// and then the last one is not the one that others have noted.
//
// # The hash
//
// Anybody can recompute it from an export. The hash of an event is the SHA-256 of
// these parts, one after the other, where an int is eight bytes, big endian, in
// two's complement, and a text is the int of its length in bytes followed by its
// bytes (UTF-8):
//
//	text  "cardea event 1"
//	text  the hash of the event before; 32 zero bytes for the first
//	int   seq
//	text  id
//	int   at: microseconds since 1970-01-01T00:00:00Z; what is finer is cut off
//	text  org
//	text  type
//	text  subject.kind, text subject.id, text subject.name
//	text  actor.principal, text actor.credential, text actor.source,
//	      text actor.door, text actor.request
//	text  reason
//	int   the number of details, then for each, in ascending order of
//	      the bytes of its key: text key, text value
//
// Since every part tells its length, no two events have the same encoding.
//
// # Verification
//
//	var v audit.Verifier
//	for e := range events {
//		if err := v.Add(e); err != nil {
//			return err // a *Fault: the first event that is wrong, and why
//		}
//	}
package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"cardea/internal/credential"
)

const label = "cardea event 1"

// Zero returns what stands as the hash before the first event: 32 zero bytes.
func Zero() []byte { return make([]byte, sha256.Size) }

// Hash returns the hash of e after an event whose hash is prev. It does not
// look at e.Prev and e.Hash.
func Hash(prev []byte, e *credential.Event) []byte {
	b := make([]byte, 0, 1024)
	b = text(b, label)
	b = text(b, string(prev))
	b = number(b, e.Seq)
	b = text(b, e.ID)
	b = number(b, e.At.UnixMicro())
	for _, s := range [...]string{
		e.Org, e.Type,
		e.Subject.Kind, e.Subject.ID, e.Subject.Name,
		e.Actor.Principal, e.Actor.Credential, e.Actor.Source, e.Actor.Door, e.Actor.Request,
		e.Reason,
	} {
		b = text(b, s)
	}
	b = number(b, int64(len(e.Detail)))
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		b = text(b, k)
		b = text(b, e.Detail[k])
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func number(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func text(b []byte, s string) []byte { return append(number(b, int64(len(s))), s...) }
