//go:build !amd64 && !arm64

package gate

import "unsafe"

// prefetch does nothing here: only the time of a hit depends on it.
func prefetch(unsafe.Pointer) {}
