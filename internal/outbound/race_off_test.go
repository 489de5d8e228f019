//go:build !race

package outbound

// racing says that the race detector is on, which allocates.
const racing = false
