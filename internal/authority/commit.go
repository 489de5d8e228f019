package authority

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// change is what one act does. An operation that changes a thing comes with
// the event that says so; the two cannot be parted.
type change struct {
	caller Caller
	at     time.Time
	ops    []credential.Op
	events []credential.Event
}

// begin starts a change by c, dated now. The request id is the caller's own text: what looks like a token in it
// goes, because the audit log refuses it, and no act may fail for that.
func (a *Authority) begin(c Caller) *change {
	c.Actor.Request = secret.Redact(c.Actor.Request)
	return &change{caller: c, at: a.now()}
}

// do adds an operation and its event. op is nil if the event tells of
// something that the store does not hold.
func (ch *change) do(op credential.Op, typ string, about credential.Subject, d details) {
	ch.because(op, typ, about, d, "")
}

// because is do with the reason that the caller gave.
func (ch *change) because(op credential.Op, typ string, about credential.Subject, d details, reason string) {
	if op != nil {
		ch.ops = append(ch.ops, op)
	}
	ch.events = append(ch.events, credential.Event{
		At: ch.at, Org: ch.caller.Org, Type: typ, Subject: about, Actor: ch.caller.Actor, Reason: reason, Detail: d,
	})
}

// in is do for a thing of another organisation than the caller's. Its log says that Cardea did it: who asked for it is named
// where the caller's own organisation looks, under the same request.
func (ch *change) in(org string, op credential.Op, typ string, about credential.Subject, d details) {
	if org == ch.caller.Org {
		ch.do(op, typ, about, d)
		return
	}
	actor := system().Actor
	actor.Request = ch.caller.Actor.Request
	if op != nil {
		ch.ops = append(ch.ops, op)
	}
	ch.events = append(ch.events, credential.Event{At: ch.at, Org: org, Type: typ, Subject: about, Actor: actor, Detail: d})
}

// also adds operations that change no thing: expectations, remembered answers, settled serial numbers.
func (ch *change) also(ops ...credential.Op) { ch.ops = append(ch.ops, ops...) }

// commit writes the change and tells the gate. When it returns nil the change
// is durable and this node's gate decides by it.
func (a *Authority) commit(ctx context.Context, ch *change) error {
	mark, err := a.raiseMark(ctx, ch.at)
	if err != nil {
		return err
	}
	if mark != nil {
		ch.also(mark)
	}
	done, err := a.store.Commit(ctx, credential.Change{Ops: ch.ops, Events: ch.events})
	if err != nil {
		if k := credential.KindOf(err); k == credential.Conflict || k == credential.Exists {
			return overtaken{err}
		}
		return err
	}
	if mark != nil {
		a.setMark(ch.at)
	}
	touched := make([]credential.Touch, len(done))
	for i, e := range done {
		touched[i] = credential.Touch{Seq: e.Seq, Org: e.Org, Subject: e.Subject}
	}
	a.tellGate(ctx, touched)
	return nil
}

// tellGate returns when nothing is accepted any more on what was known before.
// That the caller has gone does not stop it: the change is made. An error of the gate means
// that it refused more than it had to, so the answer is still success.
func (a *Authority) tellGate(ctx context.Context, touched []credential.Touch) {
	if len(touched) == 0 {
		return
	}
	if err := a.gate.Apply(context.WithoutCancel(ctx), touched); err != nil {
		a.log.Error("the gate could not find out what a change means and has refused more than it needed to", "error", err, "revision", touched[len(touched)-1].Seq)
	}
}

// overtaken is an error of Commit that says that somebody else was faster. What
// was read before may be read again and the act tried again.
type overtaken struct{ error }

func (o overtaken) Unwrap() error { return o.error }

// attempts is how often an act is tried that others overtake.
const attempts = 5

// retry runs act again while it is overtaken. A request that names the version
// that it means (not 0) is tried once.
func retry[T any](version int64, act func() (T, error)) (T, error) {
	for i := 1; ; i++ {
		v, err := act()
		if o, ok := errors.AsType[overtaken](err); ok {
			if i < attempts && version == 0 {
				continue
			}
			err = o.error
		}
		return v, err
	}
}

// none is the answer of acts that have none.
type none = struct{}

// details are the changed fields of an event: FIELD for a new thing, FIELD.old
// and FIELD.new for a changed one. Never a secret.
type details map[string]string

// set notes a field that was changed; one that is the same is left out.
func (d details) set(field, old, now string) {
	if old != now {
		d[field+".old"], d[field+".new"] = old, now
	}
}

// put notes a field of a new thing; an empty one is left out.
func (d details) put(field, value string) {
	if value != "" {
		d[field] = value
	}
}

// list is the form of a list in details.
func list[T any](items []T, text func(T) string) string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = text(item)
	}
	return strings.Join(out, " ")
}

func names(items []string) string { return strings.Join(items, " ") }

// pairs is the form of attributes in details.
func pairs(m map[string]string) string {
	return list(slices.Sorted(maps.Keys(m)), func(k string) string { return k + "=" + m[k] })
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func aboutPrincipal(p *credential.Principal) credential.Subject {
	return credential.Subject{Kind: "principal", ID: p.ID, Name: p.Name}
}

func aboutCredential(id, principal string) credential.Subject {
	return credential.Subject{Kind: "credential", ID: id, Name: principal}
}

// notFound is the one answer for what does not exist and what the caller may not know of.
func notFound(noun, ref string) error {
	return credential.Errorf(credential.NotFound, "there is no %s %s", noun, quote(ref))
}

// quote makes what a caller sent fit for a message.
func quote(s string) string { return `"` + printable(s) + `"` }

// printable cuts a text, replaces what would not print, and takes tokens out: people paste them where an ID belongs (K03).
func printable(s string) string {
	const most = 100
	s = secret.Redact(s) // before the cut, which could leave a part of one
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
