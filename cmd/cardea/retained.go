package main

import (
	"context"
	"strings"
	"time"

	"cardea/internal/broker"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/store"
)

// retainedKeeper removes the retained messages of publishers that have no
// credential left, are disabled or deleted: what somebody has said who is not
// believed any more is not told to newcomers as the truth (M06). It also ends the sessions of principals that were deleted: nobody
// will ever take them up again, and messages would go on waiting in them. It follows the
// change feed, so that it costs what changes cost, and looks at everybody once, at the start.
type retainedKeeper struct {
	store  *store.Store
	gate   *gate.Gate
	broker *broker.Broker
	keep   bool  // retained messages stay, whoever published them
	seen   int64 // revision
}

// retainedPause is the time between two looks after one has failed.
const retainedPause = 5 * time.Second

// run returns when ctx ends.
func (k *retainedKeeper) run(ctx context.Context, warn func(error)) {
	err := k.begin(ctx)
	for ctx.Err() == nil {
		if err != nil {
			warn(err)
			select {
			case <-time.After(retainedPause):
			case <-ctx.Done():
				return
			}
			if err = k.begin(ctx); err != nil {
				continue
			}
		}
		if err = k.store.Wait(ctx, k.seen); err == nil {
			err = k.follow(ctx)
		}
	}
}

// begin looks at everybody who has a retained message or a session.
func (k *retainedKeeper) begin(ctx context.Context) error {
	_, head, err := k.store.Since(ctx, 0, 1)
	if err != nil {
		return err
	}
	k.seen = head
	owners := map[owner]bool{}
	note := func(clientID string) bool {
		if o, ok := ownerOf(clientID); ok {
			owners[o] = true
		}
		return true
	}
	k.broker.Retained(func(_, publisher string) bool { return note(publisher) })
	k.broker.Sessions(note)
	return k.remove(ctx, owners)
}

// follow looks at the publishers that the next changes concern.
func (k *retainedKeeper) follow(ctx context.Context) error {
	const batch = 1000
	for {
		touched, _, err := k.store.Since(ctx, k.seen, batch)
		if err != nil || len(touched) == 0 {
			return err
		}
		owners := map[owner]bool{}
		for _, t := range touched {
			if err := k.note(ctx, t, owners); err != nil {
				return err
			}
		}
		if err := k.remove(ctx, owners); err != nil {
			return err
		}
		k.seen = touched[len(touched)-1].Seq
	}
}

// note adds the principal of a change.
func (k *retainedKeeper) note(ctx context.Context, t credential.Touch, owners map[owner]bool) error {
	switch t.Subject.Kind {
	case "principal":
		owners[owner{t.Org, t.Subject.ID}] = true
	case "credential":
		rec, err := k.store.Credential(ctx, t.Subject.ID)
		if credential.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Credential.State.Ended() {
			owners[owner{t.Org, rec.Principal.ID}] = true
		}
	}
	return nil
}

// owner is a principal: the first two parts of how the broker calls a session.
type owner struct{ org, id string }

func ownerOf(publisher string) (owner, bool) {
	org, rest, _ := strings.Cut(publisher, "/")
	id, _, ok := strings.Cut(rest, "/")
	return owner{org, id}, ok
}

// remove removes what those among the owners have published who are not believed any more, and the sessions of those who are no more.
func (k *retainedKeeper) remove(ctx context.Context, owners map[owner]bool) error {
	deleted := map[owner]bool{}
	for o := range owners {
		believed, exists, err := k.standing(ctx, o)
		if err != nil {
			return err
		}
		if !exists {
			deleted[o] = true
		}
		if believed {
			delete(owners, o)
		}
	}
	keep := func(gone map[owner]bool, clientID string) bool {
		o, ok := ownerOf(clientID)
		return !ok || !gone[o]
	}
	if err := k.cut(ctx, owners); err != nil {
		return err
	}
	if len(owners) > 0 && !k.keep {
		k.broker.Retained(func(_, publisher string) bool { return keep(owners, publisher) })
	}
	if len(deleted) > 0 {
		k.broker.Sessions(func(clientID string) bool { return keep(deleted, clientID) })
	}
	return nil
}

// cut returns when the sessions of owners are cut. The gate does that for each change, perhaps at the same moment: but it must be done
// before the broker ends anything, or what is on its way would be retained afterwards, and a client be told another reason.
func (k *retainedKeeper) cut(ctx context.Context, owners map[owner]bool) error {
	var touched []credential.Touch
	for o := range owners {
		touched = append(touched, credential.Touch{Org: o.org, Subject: credential.Subject{Kind: "principal", ID: o.id}})
	}
	return k.gate.Apply(ctx, touched)
}

// standing says whether a principal exists, and whether it could prove that it does.
func (k *retainedKeeper) standing(ctx context.Context, o owner) (believed, exists bool, err error) {
	if gate.IsGuest(o.id) { // whom a REST service vouches for: what has become of them only that knows
		return true, true, nil
	}
	p, err := k.store.Principal(ctx, o.org, o.id)
	if credential.IsNotFound(err) {
		return false, false, nil
	}
	if err != nil || !p.DeletedAt.IsZero() {
		return false, false, err
	}
	if p.Disabled {
		return false, true, nil
	}
	ids, err := k.store.CredentialsOf(ctx, o.id)
	return len(ids) > 0, true, err
}
