package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

var (
	errTimeout  = errors.New("there was no answer in the request timeout")
	errNoTime   = errors.New("there was no answer in the time that a login has, which is less than the request timeout")
	errGivenUp  = errors.New("the caller has given up")
	errClosed   = errors.New("the authenticator is being closed")
	errTooLarge = errors.New("the answer is larger than 64 KiB")
	errBadReply = errors.New("the answer is not HTTP, or its head is larger than 16 KiB")
	errUnasked  = errors.New("something was sent that nobody had asked for")
	errInactive = errors.New("the connection was idle")

	// errLast is for requests that are on a connection behind the answer that the service has announced as the
	// last one: it has not looked at them.
	errLast = errors.New("the service has ended the connection")
)

// errBroken is for a request that had no part of an answer when its connection broke. It can be asked again.
type errBroken struct{ cause error }

func (e errBroken) Error() string { return "the connection broke before an answer: " + reason(e.cause) }
func (e errBroken) Unwrap() error { return e.cause }

// errCut is for a request whose answer had begun.
type errCut struct{ cause error }

func (e errCut) Error() string { return "the answer broke off: " + reason(e.cause) }
func (e errCut) Unwrap() error { return e.cause }

// errDial is for requests that no connection could be made for.
type errDial struct{ cause error }

func (e errDial) Error() string { return "no connection could be made: " + reason(e.cause) }
func (e errDial) Unwrap() error { return e.cause }

// reason is the cause of an error in words that hold nothing of what was sent or answered, nor the port of this
// end, so that the same cause has the same words.
func reason(err error) string {
	if own, ok := errors.AsType[errGuarded](err); ok {
		return own.Error()
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the host's name was not resolved: " + dns.Err
	}
	if verify, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return unverified(verify.Err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert of TLS, which has a few fixed texts
		return "the service has refused or ended it: " + op.Err.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the service does not speak TLS"
	}
	for _, one := range []error{errTimeout, errNoTime, errTooLarge, errBadReply, errUnasked, errInactive, errLast, errClosed} {
		if errors.Is(err, one) {
			return one.Error()
		}
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "it was closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	}
	return "the service has refused or ended it, or broken the protocol"
}

// unverified says what is wrong with a certificate. What is in it is not repeated.
func unverified(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the service's certificate is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the service's certificate is of an unknown authority: set ssl.cacert"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the service's certificate has expired, or is not yet valid"
	}
	return "the service's certificate is not valid"
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
