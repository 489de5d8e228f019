package audit

import (
	"bytes"
	"fmt"

	"cardea/internal/credential"
)

// Fault is the first thing that is wrong with a log.
type Fault struct {
	Seq int64  // the event it was found at; if events are missing, the first of them
	Why string // for people
}

// Error says where and what.
func (f *Fault) Error() string { return fmt.Sprintf("event %d: %s", f.Seq, f.Why) }

// Verifier checks events that are given to it in order. The zero value begins
// at the first event; [After] begins later.
type Verifier struct {
	seq   int64
	hash  []byte
	count int64
	fault *Fault
}

// After returns a Verifier for the events that follow the one with the sequence number and the hash.
func After(seq int64, hash []byte) *Verifier { return &Verifier{seq: seq, hash: bytes.Clone(hash)} }

// Add checks the next event. The error is a [*Fault]; after the first, Add goes on returning it.
func (v *Verifier) Add(e *credential.Event) error {
	if v.fault != nil {
		return v.fault
	}
	if v.hash == nil {
		v.hash = Zero()
	}
	if f := v.check(e); f != nil {
		v.fault = f
		return f
	}
	v.seq, v.hash = e.Seq, bytes.Clone(e.Hash)
	v.count++
	return nil
}

func (v *Verifier) check(e *credential.Event) *Fault {
	want := v.seq + 1
	switch {
	case e.Seq > want+1:
		return &Fault{want, fmt.Sprintf("events %d to %d are missing or stand elsewhere", want, e.Seq-1)}
	case e.Seq > want:
		return &Fault{want, "is missing or stands elsewhere"}
	case e.Seq < want:
		return &Fault{e.Seq, fmt.Sprintf("stands after event %d: repeated or moved", v.seq)}
	case !bytes.Equal(e.Prev, v.hash):
		return &Fault{e.Seq, "does not follow the event before it: one of the two was altered"}
	case !bytes.Equal(e.Hash, Hash(e.Prev, e)):
		return &Fault{e.Seq, "was altered: its hash is another"}
	}
	return nil
}

// Ends checks that the log ends with the given event, so that a cut end is found too.
func (v *Verifier) Ends(seq int64, hash []byte) error {
	switch {
	case v.fault != nil:
		return v.fault
	case v.seq < seq:
		v.fault = &Fault{v.seq + 1, fmt.Sprintf("is missing: the log should go on to event %d", seq)}
	case v.seq > seq:
		v.fault = &Fault{seq + 1, fmt.Sprintf("the log should end with event %d", seq)}
	case seq > 0 && !bytes.Equal(v.hash, hash):
		v.fault = &Fault{seq, "is not the one that the log should end with"}
	default:
		return nil
	}
	return v.fault
}

// Last returns the sequence number and the hash of the last good event.
func (v *Verifier) Last() (int64, []byte) {
	if v.hash == nil {
		return v.seq, Zero()
	}
	return v.seq, bytes.Clone(v.hash)
}

// Count returns how many events were good.
func (v *Verifier) Count() int64 { return v.count }
