package secret

import (
	"context"
	"runtime"

	"cardea/internal/credential"
)

// waitingEach is how many may wait for each slow hash that runs. At 40 ms for
// one, the last of them waits for little more than a second.
const waitingEach = 32

// hashing is where all slow hashes of the process take turns. It is one for
// all, because what it protects is: the memory and the cores of the machine.
var hashing = func() *turns {
	running := max(1, runtime.GOMAXPROCS(0)/2)
	return newTurns(running, running*waitingEach)
}()

// turns lets a few work at once and some more wait for it. Who finds the queue
// full is refused, so that a flood of logins costs no more than it may.
type turns struct {
	running chan struct{}
	inside  chan struct{} // those that run and those that wait
}

func newTurns(running, waiting int) *turns {
	return &turns{make(chan struct{}, running), make(chan struct{}, running+waiting)}
}

// do runs work when it is its turn. The error is of kind Down, and work has not
// been run: the queue is full, or ctx has ended before.
func (t *turns) do(ctx context.Context, work func()) error {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	select {
	case t.inside <- struct{}{}:
	default:
		return credential.Errorf(credential.Down, "too many passwords are being checked: try again in a moment")
	}
	defer func() { <-t.inside }()
	select {
	case t.running <- struct{}{}:
	case <-ctx.Done():
		return gaveUp(ctx.Err())
	}
	defer func() { <-t.running }()
	work()
	return nil
}

func gaveUp(err error) error {
	return &credential.Error{Kind: credential.Down, Message: "the password was not checked in time: try again", Err: err}
}
