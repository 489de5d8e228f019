//go:build amd64 || arm64

package gate

import "unsafe"

// prefetch starts to bring the cache line at p from memory, whatever p is, and
// does not wait for it. A load in its place would be waited for: SHA-256 reads
// back what it has just written, and the processor does that only when all
// loads before are done.
//
//go:noescape
func prefetch(p unsafe.Pointer)
