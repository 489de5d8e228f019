//go:build !linux

package broker

import "os"

func syncData(f *os.File) error { return f.Sync() }
