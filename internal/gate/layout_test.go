package gate

import (
	"testing"
	"unsafe"
)

// What a hit reads of an entry is in its first three cache lines, and an entry
// is one of the runtime's size classes that keep it aligned to them.
func TestLayoutOfEntry(t *testing.T) {
	var e entry
	if at := unsafe.Offsetof(e.marks); at/lineSize != 1 {
		t.Errorf("what is compared ends at %d, not with the first line", at)
	}
	if end := unsafe.Offsetof(e.made) + unsafe.Offsetof(e.made.Org); end > hotLines*lineSize {
		t.Errorf("what is read of the identity ends at %d, after the third line", end)
	}
	if n := unsafe.Sizeof(e); n != 384 {
		t.Errorf("an entry has %d bytes, want 384", n)
	}
}
