package authority

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"cardea/internal/credential"
)

// rankStep is how far apart the ranks of a chain are, so that most moves change the rank of one alone.
const rankStep = 1 << 20

// behind is the rank of who comes last.
func behind(chain []credential.Authenticator) int64 {
	if len(chain) == 0 {
		return rankStep
	}
	return chain[len(chain)-1].Rank + rankStep
}

// MoveAuthenticator gives one another place in its chain: "front", "rear", "before:ID" or "after:ID".
// Who stays where it is leaves no event.
func (a *Authority) MoveAuthenticator(ctx context.Context, c Caller, id, position string, version int64) (Authenticator, error) {
	var moved credential.Authenticator
	err := a.exclusively(ctx, version, func(ctx context.Context) error {
		one, chain, err := a.authenticator(ctx, c, "update", id)
		if err != nil {
			return err
		}
		if err := checkVersion("authenticator", version, one.Version); err != nil {
			return err
		}
		from := slices.IndexFunc(chain, func(x credential.Authenticator) bool { return x.ID == id })
		others := slices.Delete(slices.Clone(chain), from, from+1)
		to, err := placeOf(others, &one, position)
		if err != nil {
			return err
		}
		if moved = one; to == from {
			return nil
		}
		ch := a.begin(c)
		for _, x := range reranked(others, one, to) {
			d := details{"listener": x.Listener}
			if x.ID == id {
				d.set("place", strconv.Itoa(from+1), strconv.Itoa(to+1))
				moved = x
			}
			ch.do(credential.PutAuthenticator{Authenticator: x}, "authenticator.move", aboutAuthenticator(&x), d)
		}
		if err := a.commit(ctx, ch); err != nil {
			return err
		}
		moved.Version++
		return nil
	})
	if err != nil {
		return Authenticator{}, err
	}
	return a.shown(moved)
}

// placeOf reads a position: the index that one gets among the others.
func placeOf(others []credential.Authenticator, one *credential.Authenticator, position string) (int, error) {
	var p credential.Problems
	where, ref, _ := strings.Cut(position, ":")
	switch {
	case position == "front":
		return 0, nil
	case position == "rear":
		return len(others), nil
	case where != "before" && where != "after" || ref == "":
		p.Add("position", `must be "front", "rear", "before:ID" or "after:ID"`)
		return 0, p.Err()
	}
	at := slices.IndexFunc(others, func(x credential.Authenticator) bool { return x.ID == ref })
	switch {
	case ref == one.ID:
		p.Add("position", "names the authenticator itself")
	case at < 0:
		p.Add("position", "names no other authenticator of the chain of %s: %s", one.Listener, quote(ref))
	case where == "after":
		at++
	}
	return at, p.Err()
}

// reranked puts one at an index among others and returns those whose rank has changed: it alone, unless there is no
// number between its neighbours.
func reranked(others []credential.Authenticator, one credential.Authenticator, to int) []credential.Authenticator {
	switch {
	case len(others) == 0:
		return nil
	case to == len(others):
		one.Rank = behind(others)
		return []credential.Authenticator{one}
	case to == 0:
		one.Rank = others[0].Rank - rankStep
		return []credential.Authenticator{one}
	}
	low, high := others[to-1].Rank, others[to].Rank
	if mid := low + (high-low)/2; mid > low && mid < high {
		one.Rank = mid
		return []credential.Authenticator{one}
	}
	var changed []credential.Authenticator
	for i, x := range slices.Insert(slices.Clone(others), to, one) {
		if rank := int64(i+1) * rankStep; x.Rank != rank {
			x.Rank = rank
			changed = append(changed, x)
		}
	}
	return changed
}
