package gate

import (
	"testing"
	"unsafe"
)

// What a hit reads of an entry is in its first three cache lines, and an entry
// is one of the runtime's size classes that keep it aligned to them.
func TestLayoutOfEntry(t *testing.T) {
	var e entry
	if at := unsafe.Offsetof(e.dead); at/64 != 1 {
		t.Errorf("what is compared ends at %d, not with the first line", at)
	}
	if at := unsafe.Offsetof(e.made); at != 128 {
		t.Errorf("the identity begins at %d, want 128", at)
	}
	if n := unsafe.Sizeof(e); n != 384 {
		t.Errorf("an entry has %d bytes, want 384", n)
	}
}
