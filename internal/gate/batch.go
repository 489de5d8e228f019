package gate

import (
	"time"

	"cardea/internal/credential"
)

// batch is some of what is to be recorded, as much as goes into one transaction.
type batch struct {
	records credential.Records
	used    []useKey
	refused []refusalKey
	slices  []slicesOf
}

func (l *ledger) isEmpty() bool {
	return len(l.used)+len(l.refused)+len(l.slices)+len(l.done)+len(l.sighted) == 0
}

// batch returns the next one, and leaves it in the ledger until it is recorded.
func (l *ledger) batch() *batch {
	b := &batch{}
	room := recordRows
	for k, u := range l.used {
		if room == 0 {
			return b
		}
		b.used, b.records.Used = append(b.used, k), append(b.records.Used, *u)
		room--
	}
	for k, r := range l.refused {
		if room == 0 {
			return b
		}
		b.refused, b.records.Refused = append(b.refused, k), append(b.records.Refused, *r)
		room--
	}
	for of, values := range l.slices {
		if room < len(values) {
			return b // a part of them would be counted twice if the rest fails
		}
		b.slices = append(b.slices, of)
		for value, n := range values {
			b.records.Slices = append(b.records.Slices, credential.UsageSlice{
				Credential: of.key.String(), Day: time.Unix(of.day*86400, 0).UTC(), By: of.by, Value: value, Count: n,
			})
		}
		room -= len(values)
	}
	b.records.Exercised = l.done[:min(room, len(l.done))]
	room -= len(b.records.Exercised)
	b.records.Sighted = l.sighted[:min(room, len(l.sighted))]
	return b
}

// forget takes a batch that was recorded out of the ledger.
func (b *batch) forget(l *ledger) {
	for _, k := range b.used {
		delete(l.used, k)
	}
	for _, k := range b.refused {
		delete(l.refused, k)
	}
	for _, of := range b.slices {
		delete(l.slices, of)
	}
	l.done = l.done[len(b.records.Exercised):]
	l.sighted = l.sighted[len(b.records.Sighted):]
}
