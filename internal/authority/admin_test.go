package authority

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// W08: the bootstrap token is good for a day, or until the first user is made; then all of them are dead, in the same change.
func TestAdminTokenEndsWithTheFirstUser(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	token, until, err := h.AdminToken(ctx, h.local)
	h.must(err)
	if !until.Equal(h.clock.now().Add(24 * time.Hour)) {
		t.Errorf("it ends at %s", until)
	}
	second, _, err := h.AdminToken(ctx, h.local)
	h.must(err)
	h.principal(credential.Service, "svc")
	for _, s := range []secret.Text{token, second} {
		if r := h.knock(s.Reveal()); r != credential.OK {
			t.Errorf("the gate says %s", r)
		}
	}
	_, cut := h.connect(token.Reveal())
	before := h.head()
	h.principal(credential.User, "ada")
	if got := types(h.events(before)); got != "principal.create credential.revoke credential.revoke" {
		t.Errorf("events %s", got)
	}
	for _, s := range []secret.Text{token, second} {
		if r := h.knock(s.Reveal()); r != credential.Revoked {
			t.Errorf("the gate says %s", r)
		}
	}
	if len(cut) != 1 {
		t.Error("its session lives")
	}
	// The local administrator can make another one, and the next user does not end that.
	third, _, err := h.AdminToken(ctx, h.local)
	h.must(err)
	h.principal(credential.User, "bob")
	if r := h.knock(third.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	h.clock.add(24 * time.Hour)
	if r := h.knock(third.Reveal()); r != credential.Expired {
		t.Errorf("the gate says %s", r)
	}
}

// Only the local administrator has these, whatever rights another has.
func TestWhatIsForTheLocalAdministrator(t *testing.T) {
	h := newHouse(t)
	c := h.callerOf(credential.ScopeAdmin)
	var out bytes.Buffer
	_, _, token := h.AdminToken(t.Context(), c)
	_, _, link := h.AdminLink(t.Context(), c)
	for _, err := range []error{token, link, h.Backup(t.Context(), c, &out), h.AcceptClock(t.Context(), c)} {
		fails(t, err, credential.NoRight, "local administrator")
	}
	if out.Len() > 0 {
		t.Error("something was written")
	}
	for _, name := range []string{"bootstrap", "local", "system"} {
		_, err := h.CreatePrincipal(t.Context(), h.local, NewPrincipal{Kind: credential.Service, Name: name})
		fails(t, err, credential.Invalid, "reserved")
	}
}

// N04, E04: the code of a link is good once, for ten minutes, also after a restart; whoever comes second or with a
// wrong code gets the same answer.
func TestAdminLink(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	code, until, err := h.AdminLink(ctx, h.local)
	h.must(err)
	if len(code.Reveal()) != 32 || !until.Equal(h.clock.now().Add(10*time.Minute)) {
		t.Errorf("a code of %d characters until %s", len(code.Reveal()), until)
	}
	h.open()
	from := credential.Actor{Source: "192.0.2.1", Door: "console", Request: "r"}
	good := code.Reveal()
	flip := map[byte]string{'a': "b"}[good[31]]
	if flip == "" {
		flip = "a"
	}
	for _, wrong := range []string{"", "x", good[:31], good[:31] + flip, good + "a", strings.Repeat("0", 32), strings.Repeat("é", 16)} {
		_, err := h.RedeemLink(ctx, wrong, from)
		fails(t, err, credential.NotFound, "the link has been used or has expired")
	}
	before := h.head()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var got []Caller
	for range 8 {
		wg.Go(func() {
			c, err := h.RedeemLink(ctx, good, from)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got = append(got, c)
			} else if credential.KindOf(err) != credential.NotFound {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 1 || types(h.events(before)) != "system.redeem" {
		t.Fatalf("%d got in, events %s", len(got), types(h.events(before)))
	}
	c := got[0]
	if c.Local || c.Org != credential.DefaultOrg || c.Actor.Source != "192.0.2.1" || h.Authorize(c, "principals:create", "/principals/x") != nil {
		t.Errorf("caller %+v", c.Actor)
	}
	if _, err := h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.User, Name: "ada", Roles: []string{credential.RoleAdmin}}); err != nil {
		t.Error(err)
	}
	old, _, err := h.AdminLink(ctx, h.local)
	h.must(err)
	h.clock.add(10 * time.Minute)
	_, err = h.RedeemLink(ctx, old.Reveal(), from)
	fails(t, err, credential.NotFound)
}

func TestBackup(t *testing.T) {
	h := furnished(t)
	var out bytes.Buffer
	h.must(h.Backup(t.Context(), h.local, &out))
	for _, want := range []string{`"svc"`, "system.backup"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the backup does not hold %s", want)
		}
	}
}
