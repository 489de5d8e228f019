package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"cardea/internal/view"
)

// maxSecretLine bounds what is read as one secret.
const maxSecretLine = 64 << 10

// askSecret reads a secret: all of a file if one is named ("-" is standard input), what is typed at a terminal, unseen, or else the
// next line of standard input. It is never an argument: command lines are seen by others (C03).
func (a *app) askSecret(ctx context.Context, what, file string) (view.Secret, error) {
	if file != "" {
		return a.readPassword(file)
	}
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.typeSecret(ctx, f, what)
	}
	return a.nextLine(what)
}

// askNew is askSecret for a secret that nobody can look up afterwards: at a terminal it is typed twice.
func (a *app) askNew(ctx context.Context, what, file string) (view.Secret, error) {
	first, err := a.askSecret(ctx, what, file)
	f, ok := a.in.(*os.File)
	if err != nil || file != "" || !ok || !term.IsTerminal(int(f.Fd())) {
		return first, err
	}
	again, err := a.typeSecret(ctx, f, what+", again")
	if err == nil && again != first {
		err = errors.New("the two are not the same: nothing was changed")
	}
	return first, err
}

// typeSecret reads a line of a terminal without showing it. A signal brings the terminal back as it was.
func (a *app) typeSecret(ctx context.Context, f *os.File, what string) (view.Secret, error) {
	fd := int(f.Fd())
	was, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(a.err, "%s: ", what)
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- typed{text, err}
	}()
	select {
	case t := <-done:
		fmt.Fprintln(a.err)
		return notEmpty(what, string(t.text), t.err)
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return "", errors.Join(errors.New("interrupted"), term.Restore(fd, was))
	}
}

// nextLine reads one line of standard input; what follows is left for the next.
func (a *app) nextLine(what string) (view.Secret, error) {
	if a.lines == nil {
		a.lines = bufio.NewReader(io.LimitReader(a.in, maxSecretLine))
	}
	line, err := a.lines.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return notEmpty(what, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err)
}

func notEmpty(what, text string, err error) (view.Secret, error) {
	if err == nil && text == "" {
		err = fmt.Errorf("%s: there is nothing on standard input", what)
	}
	return view.Secret(text), err
}
