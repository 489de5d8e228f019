package policy

// bound is one set of resources that rights are held to, and whose it is.
type bound struct {
	side string
	set  *Set // nil for none
}

// bounds are those that count.
func (r *Rights) bounds() [3]bound {
	all := [3]bound{{"resources", r.Selected}, {"project", r.Project}, {"organisation", r.Boundary}}
	if r.ACL != nil { // who has one has neither a credential nor a project of ours
		all[0].set, all[1].set = nil, nil
	}
	return all
}

// inBounds reports whether an access lies within each bound. For a subscription
// one resource of each must hold the whole filter.
func (r *Rights) inBounds(a *Access) bool {
	for _, b := range r.bounds() {
		if b.set != nil && !b.set.decide(a, r.Holder).Allowed() {
			return false
		}
	}
	return true
}

// boundsHold reports whether an allow, of one half of mqtt:*, lies within each bound.
func (r *Rights) boundsHold(m *matcher) bool {
	for _, b := range r.bounds() {
		if b.set != nil && !b.set.cover(m, nil) {
			return false
		}
	}
	return true
}
