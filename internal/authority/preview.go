package authority

import "context"

// PreviewCredential answers what CreateCredential would make, and makes nothing: when it would end and by which policy, whether
// somebody would have to approve it, and everything that is wrong with the request (L01). Errors as of CreateCredential.
func (a *Authority) PreviewCredential(ctx context.Context, c Caller, n NewCredential) (Preview, error) {
	w := newWishes(a, c, []NewCredential{n}, func(int) string { return "" })
	if err := w.authorize(ctx); err != nil {
		return Preview{}, err
	}
	if err := a.checkClock(ctx); err != nil {
		return Preview{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Preview{}, err
	}
	drafts, err := w.check(b, a.now())
	if err != nil {
		return Preview{}, err
	}
	if err := a.hasRoom(ctx, b, b.crowdsOf(drafts)); err != nil {
		return Preview{}, err
	}
	d := &drafts[0]
	return Preview{
		Credential: d.Credential, PrincipalName: d.principal, OwnerName: d.owner,
		Policy: b.rules(n.Kind).KindPolicy, Warnings: d.warnings,
	}, nil
}
