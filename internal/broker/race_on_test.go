//go:build race

package broker

// racing says that the race detector is on, which allocates.
const racing = true
