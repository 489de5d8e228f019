package broker

import (
	"os"
	"syscall"
)

// syncData is Sync without what is not needed to read the data again, such as the time of the last change.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
