package mqttdoor

import (
	"context"
	"slices"
	"testing"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// within acts in an organisation of its own, which is made, and is held to the topics of its name.
func (h *house) within(org string, act func()) {
	h.Helper()
	_, err := h.authority.CreateOrg(context.Background(), h.local, authority.NewOrg{Name: org})
	h.must(err)
	outer := h.local
	h.local, err = h.authority.LocalCaller(context.Background(), org, outer.Actor)
	h.must(err)
	defer func() { h.local = outer }()
	act()
}

// W07: two organisations on one broker, whose devices bear the same name and may each everything by their rules: neither sees, takes or
// overwrites anything of the other, by wildcards, shared subscriptions, retained messages, wills or client ids.
func TestOrganisationsOnOneBroker(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		ours, theirs := "acme"+string('0'+rune(v)), "rival"+string('0'+rune(v))
		var us, them *who
		device := func() *who {
			_, err := h.authority.CreatePrincipal(context.Background(), h.local,
				authority.NewPrincipal{Kind: credential.Device, Name: "pump-1", Roles: []string{credential.RoleDevice}})
			h.must(err)
			return h.another("pump-1")
		}
		h.within(ours, func() { us = device() })
		h.within(theirs, func() { them = device() })

		a, b := h.connect(us, v), h.connect(them, v) // the same client id, at the same time
		if code := a.PublishWith(mqtt.Publish{Topic: []byte(ours + "/x"), QoS: 1, Retain: true}, "kept"); code.Failed() {
			t.Fatalf("0x%02X", byte(code))
		}
		filters := []string{"#", "+/x", ours + "/#", ours + "/x", "$share/g/" + ours + "/#", "$share/g/#", "/#", theirs + "/#"}
		asked := make([]mqtt.Filter, len(filters))
		want := make([]byte, len(filters))
		for i, f := range filters {
			asked[i], want[i] = testkit.Filter(f, 1), failed(v)
		}
		want[len(want)-1] = 1
		if got := b.Subscribe(asked...); !slices.Equal(got, want) {
			t.Errorf("SUBACK %x, want %x", got, want)
		}
		b.PublishWith(mqtt.Publish{Topic: []byte(ours + "/x"), Retain: true}, "overwritten")
		b.PublishWith(mqtt.Publish{Topic: []byte(ours + "/x"), Retain: true}, "")
		a.Publish(ours+"/x", "private", 1)
		b.Publish(theirs+"/x", "own", 1)
		if got := b.MessagesBefore("own"); len(got) > 0 {
			t.Errorf("the other organisation reads %q", got[0].Payload)
		}
		if codes := a.Subscribe(testkit.Filter(ours+"/#", 1)); codes[0] != 1 {
			t.Errorf("SUBACK %x", codes)
		}
		if m := a.Message(); m.Payload != "kept" || !m.Publish.Retain {
			t.Errorf("retained: %q", m.Payload)
		}
		if code := h.knock(h.addr, them.config(v, called("pump-1:2"), leaving(ours+"/x", 0))); code != mqtt.NotAuthorized {
			t.Errorf("a will in the other organisation: 0x%02X", byte(code))
		}
		// what both may by what they are held to, they share: that is why it is warned of
		yes := []string{"mqtt:" + theirs + "/#", "mqtt:" + ours + "/open"}
		_, err := h.authority.UpdateOrg(context.Background(), h.local, theirs, authority.OrgPatch{Resources: &yes})
		h.must(err)
		b.Subscribe(testkit.Filter(ours+"/open", 1))
		a.Publish(ours+"/open", "shared", 1)
		if m := b.Message(); m.Payload != "shared" {
			t.Errorf("%q", m.Payload)
		}
		// and no longer than they may
		no := []string{"mqtt:" + theirs + "/#"}
		_, err = h.authority.UpdateOrg(context.Background(), h.local, theirs, authority.OrgPatch{Resources: &no})
		h.must(err)
		a.Publish(ours+"/open", "late", 1)
		b.Publish(theirs+"/x", "still own", 1)
		if got := b.MessagesBefore("still own"); len(got) > 0 {
			t.Errorf("after its organisation was narrowed it reads %q", got[0].Payload)
		}
		// a disabled organisation has nobody on the broker, and the other does not notice
		off := true
		_, err = h.authority.UpdateOrg(context.Background(), h.local, theirs, authority.OrgPatch{Disabled: &off})
		h.must(err)
		b.Closed()
		if code := h.knock(h.addr, them.config(v)); code != mqtt.NotAuthorized {
			t.Errorf("disabled: 0x%02X", byte(code))
		}
		a.Ping()
		a.Disconnect()
	})
}
