package authority

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

const (
	inviteLife   = 72 * time.Hour
	invitePrefix = "invite/"        // of the setting that keeps an invitation; the user's ID follows, so that there is one at a time
	inviteIDLen  = 12               // of a principal's ID, with which a code begins
	inviteLen    = inviteIDLen + 24 // 24 base62 characters are 142 bits (E04)
)

// Invitation lets a user set their password, once.
type Invitation struct {
	User      string // name
	Code      secret.Text
	ExpiresAt time.Time
}

// Invite makes the one-time code with which a user sets their password, good for 72 hours; [Authority.Activate] uses it up. It ends the
// one before. Who has the code can be that user, so the caller must have all that the user may (J26). The store
// keeps its hash. Errors as of [Authority.SetPassword].
func (a *Authority) Invite(ctx context.Context, c Caller, ref string) (Invitation, error) {
	p, err := a.userToBecome(ctx, c, "invite", ref)
	if err != nil {
		return Invitation{}, err
	}
	random, err := secret.NewID(inviteLen - inviteIDLen)
	if err != nil {
		return Invitation{}, err
	}
	code := p.ID + random
	ch := a.begin(c)
	until := ch.at.Add(inviteLife)
	ch.do(credential.PutSetting{Name: inviteSetting(p.ID), Value: invitation{p.Org, hashOfCode(code), hashOfWhom(&p), until}.String()},
		"user.invite", aboutPrincipal(&p), details{"expires_at": stamp(until)})
	if err := a.commit(ctx, ch); err != nil {
		return Invitation{}, err
	}
	return Invitation{User: p.Name, Code: secret.NewText(code), ExpiresAt: until}, nil
}

// Activate sets the password of the user that a code was made for, for exactly one of those who present it, over all nodes
// (O01). A password that cannot be taken does not use it up. Org is "" if the caller does not say it. Every
// refusal of a code is the same NotFound.
func (a *Authority) Activate(ctx context.Context, org, code string, password secret.Text, from credential.Actor) (credential.Principal, error) {
	if _, err := a.invited(ctx, org, code); err != nil { // nobody waits for a turn with a wrong one
		return credential.Principal{}, err
	}
	var p credential.Principal
	err := a.store.Exclusive(ctx, inviteSetting(code[:inviteIDLen]), func(ctx context.Context) error {
		phc := ""
		var err error
		p, err = retry(0, func() (credential.Principal, error) {
			p, err := a.invited(ctx, org, code)
			if err != nil {
				return p, err
			}
			if phc == "" {
				if phc, err = hashPassword(ctx, &p, password); err != nil {
					return p, err
				}
			}
			from.Principal, from.Credential = p.Name, "invitation"
			_, err = a.storePassword(ctx, a.begin(Caller{Org: p.Org, Actor: from}), &p, phc)
			return p, err
		})
		return err
	})
	return p, err
}

// invited returns the user that a code is for.
func (a *Authority) invited(ctx context.Context, org, code string) (credential.Principal, error) {
	refused := credential.Errorf(credential.NotFound, "the code is wrong, has been used or has expired: ask for a new invitation")
	if len(code) != inviteLen || strings.ContainsFunc(code, notBase62) {
		return credential.Principal{}, refused
	}
	if err := a.checkClock(ctx); err != nil {
		return credential.Principal{}, err
	}
	value, err := a.store.Setting(ctx, inviteSetting(code[:inviteIDLen]))
	if err != nil {
		return credential.Principal{}, err
	}
	is, sum := readInvitation(value), hashOfCode(code)
	if subtle.ConstantTimeCompare([]byte(is.hash), []byte(sum)) == 0 || !a.now().Before(is.until) || org != "" && org != is.org {
		return credential.Principal{}, refused
	}
	p, err := a.store.Principal(ctx, is.org, code[:inviteIDLen])
	if credential.IsNotFound(err) || err == nil && (p.ID != code[:inviteIDLen] || p.Disabled || !p.DeletedAt.IsZero() || is.of != hashOfWhom(&p)) {
		return credential.Principal{}, refused
	}
	return p, err
}

// invitation is what is stored of one.
type invitation struct {
	org, hash string
	of        string // [hashOfWhom], when it was made
	until     time.Time
}

func (i invitation) String() string {
	return i.hash + " " + strconv.FormatInt(i.until.UnixMicro(), 10) + " " + i.org + " " + i.of
}

// hashOfWhom changes with what a user may: whoever made the invitation was asked whether they may that themself, and not more (J26).
func hashOfWhom(p *credential.Principal) string {
	return hashOfCode(names(slices.Sorted(slices.Values(p.Roles))) + "\n" + pairs(p.Attrs))
}

// readInvitation returns what a setting says; one that has ended long ago if it says nothing.
func readInvitation(value string) invitation {
	parts := strings.Split(value, " ")
	if len(parts) != 4 {
		return invitation{}
	}
	micros, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return invitation{}
	}
	return invitation{org: parts[2], of: parts[3], hash: parts[0], until: time.UnixMicro(micros).UTC()}
}

func hashOfCode(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

func inviteSetting(principal string) string { return invitePrefix + principal }

// sweepInvites adds to the change that invitations which are over are forgotten.
func (a *Authority) sweepInvites(ctx context.Context, ch *change) error {
	all, err := a.store.Settings(ctx, invitePrefix)
	if err != nil {
		return err
	}
	for name, value := range all {
		if !ch.at.Before(readInvitation(value).until) {
			ch.also(credential.PutSetting{Name: name})
		}
	}
	return nil
}
