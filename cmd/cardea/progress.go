package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress says on standard error how far something long has come: on a terminal in one line that is written again, otherwise in
// a line every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	from     int64
	total    int64
	shown    time.Time
	open     bool // a line on the terminal is not ended
}

const (
	plainEvery    = 5 * time.Second
	terminalEvery = 200 * time.Millisecond
)

func newProgress(w io.Writer, from, total int64) *progress {
	f, ok := w.(*os.File)
	now := time.Now()
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), began: now, from: from, total: total, shown: now}
}

// reached notes that so many are done.
func (p *progress) reached(done int64) {
	now, every := time.Now(), plainEvery
	if p.terminal {
		every = terminalEvery
	}
	if now.Sub(p.shown) < every && done < p.total || !p.terminal && done == p.from {
		return
	}
	p.shown = now
	text := p.text(done, now.Sub(p.began))
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	fmt.Fprintf(p.w, "\r%s\x1b[K", text)
	p.open = true
}

func (p *progress) text(done int64, took time.Duration) string {
	rate := float64(done-p.from) / max(took.Seconds(), 1e-3)
	text := fmt.Sprintf("%d of %d, %.0f a second", done, p.total, rate)
	if left := p.total - done; left > 0 && rate > 0 {
		text += ", " + time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return text
}

// say writes a line of its own.
func (p *progress) say(text string) {
	p.end()
	fmt.Fprintln(p.w, printable(text))
}

// end ends the line that is open.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

// eachLine calls fn with each whole line, without its end. What is not ended is left out.
func eachLine(in io.Reader, fn func([]byte) error) error {
	buffered := bufio.NewReader(in)
	for {
		line, err := buffered.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(line[:len(line)-1]); err != nil {
			return err
		}
	}
}
