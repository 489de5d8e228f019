package scram_test

import (
	"strings"
	"testing"

	"cardea/internal/scram"
)

// S03, S04, S05, S07: what a client-first may be, and whom it names.
func TestBegin(t *testing.T) {
	for _, c := range []struct {
		name, msg, user string
		want            scram.Code
	}{
		{"no binding", "n,,n=user,r=abc", "user", ""},
		{"binding that the server lacks", "y,,n=user,r=abc", "user", ""},
		{"escapes", "n,,n=a=2Cb=3Dc,r=abc", "a,b=c", ""},
		{"nothing but escapes", "n,,n==2C=3D,r=abc", ",=", ""},
		{"an escape of an escape", "n,,n==3D2C,r=abc", "=2C", ""},
		{"what looks like an escape", "n,,n=2C3D,r=abc", "2C3D", ""},
		{"prepared", "n,,n=\u2168\u00ad é,r=abc", "IX é", ""},
		{"a name that Unicode 3.2 does not know", "n,,n=\U0001F600,r=abc", "\U0001F600", ""},
		{"the same authorisation identity", "n,a=user,n=user,r=abc", "user", ""},
		{"the same, written otherwise", "n,a=\u2168=2C,n=IX=2C,r=abc", "IX,", ""},
		{"an extension", "n,,n=user,r=abc,x=y", "user", ""},
		{"extensions", "n,,n=user,r=abc,x=y=z,Z==", "user", ""},
		{"the longest name", "n,,n=" + strings.Repeat("a", 1024) + ",r=abc", strings.Repeat("a", 1024), ""},
		{"all that a nonce may have", "n,,n=user,r=!\"#$%&'()*+-./09:;<=>?@AZ[\\]^_`az{|}~", "user", ""},
		{"the longest nonce", "n,,n=user,r=" + strings.Repeat("a", 1024), "user", ""},

		{"nothing", "", "", scram.InvalidEncoding},
		{"no header", "n=user,r=abc", "", scram.InvalidEncoding},
		{"an empty header", ",,n=user,r=abc", "", scram.InvalidEncoding},
		{"half a header", "n,", "", scram.InvalidEncoding},
		{"a header alone", "n,,", "", scram.InvalidEncoding},
		{"an unknown flag", "x,,n=user,r=abc", "", scram.InvalidEncoding},
		{"a flag in upper case", "N,,n=user,r=abc", "", scram.InvalidEncoding},
		{"a flag with a tail", "nn,,n=user,r=abc", "", scram.InvalidEncoding},
		{"a binding of no type", "p=,,n=user,r=abc", "", scram.InvalidEncoding},
		{"a binding without the method", "p=tls-exporter,,n=user,r=abc", "", scram.ChannelBindingNotSupported},
		{"the flag of GSS", "F,n,,n=user,r=abc", "", scram.InvalidEncoding},
		{"another authorisation identity", "n,a=admin,n=user,r=abc", "", scram.OtherError},
		{"one that begins alike", "n,a=user2,n=user,r=abc", "", scram.OtherError},
		{"an escaped one", "n,a=user=2C,n=user,r=abc", "", scram.OtherError},
		{"an empty one", "n,a=,n=user,r=abc", "", scram.InvalidEncoding},
		{"something in its place", "n,user,n=user,r=abc", "", scram.InvalidEncoding},
		{"a badly written one", "n,a=us=er,n=user,r=abc", "", scram.InvalidUsernameEncoding},
		{"a mandatory extension first", "n,,m=x,n=user,r=abc", "", scram.ExtensionsNotSupported},
		{"a mandatory extension last", "n,,n=user,r=abc,m=x", "", scram.ExtensionsNotSupported},
		{"a mandatory extension between", "n,,n=user,m=x,r=abc", "", scram.InvalidEncoding},
		{"no user name", "n,,r=abc", "", scram.InvalidEncoding},
		{"an empty user name", "n,,n=,r=abc", "", scram.InvalidEncoding},
		{"a user name of nothing", "n,,n=\u00ad,r=abc", "", scram.InvalidUsernameEncoding},
		{"too long a name", "n,,n=" + strings.Repeat("a", 1025) + ",r=abc", "", scram.InvalidUsernameEncoding},
		{"a name that grows too long", "n,,n=" + strings.Repeat("\ufdfa", 32) + ",r=abc", "", scram.InvalidUsernameEncoding}, // 33 bytes of each
		{"a control character", "n,,n=us\ter,r=abc", "", scram.InvalidUsernameEncoding},
		{"a bare =", "n,,n=a=b,r=abc", "", scram.InvalidUsernameEncoding},
		{"a = at the end", "n,,n=a=,r=abc", "", scram.InvalidUsernameEncoding},
		{"half an escape", "n,,n=a=2,r=abc", "", scram.InvalidUsernameEncoding},
		{"an escape in lower case", "n,,n=a=2cb,r=abc", "", scram.InvalidUsernameEncoding},
		{"no nonce", "n,,n=user", "", scram.InvalidEncoding},
		{"an empty nonce", "n,,n=user,r=", "", scram.InvalidEncoding},
		{"a blank in the nonce", "n,,n=user,r=a b", "", scram.InvalidEncoding},
		{"DEL in the nonce", "n,,n=user,r=a\x7f", "", scram.InvalidEncoding},
		{"a nonce that is not ASCII", "n,,n=user,r=é", "", scram.InvalidEncoding},
		{"too long a nonce", "n,,n=user,r=" + strings.Repeat("a", 1025), "", scram.InvalidEncoding},
		{"the nonce first", "n,,r=abc,n=user", "", scram.InvalidEncoding},
		{"a second nonce", "n,,n=user,r=abc,r=def", "", scram.InvalidEncoding},
		{"a second user", "n,,n=user,r=abc,n=admin", "", scram.InvalidEncoding},
		{"an empty field", "n,,n=user,r=abc,", "", scram.InvalidEncoding},
		{"an extension without a value", "n,,n=user,r=abc,x=", "", scram.InvalidEncoding},
		{"bad UTF-8", "n,,n=us\xffer,r=abc", "", scram.InvalidEncoding},
		{"bad UTF-8 in an extension", "n,,n=user,r=abc,x=\xc3", "", scram.InvalidEncoding},
		{"a surrogate", "n,,n=\xed\xa0\x80,r=abc", "", scram.InvalidEncoding},
		{"NUL", "n,,n=us\x00er,r=abc", "", scram.InvalidEncoding},
		{"1 MiB", "n,,n=" + strings.Repeat("a", 1<<20) + ",r=abc", "", scram.OtherError},
	} {
		t.Run(c.name, func(t *testing.T) {
			hs, err := scram.Begin(scram.SHA256, false, nil, []byte(c.msg))
			wantCode(t, err, c.want)
			if err == nil && hs.Username() != c.user {
				t.Errorf("the user is %q, want %q", hs.Username(), c.user)
			}
			if err != nil && hs != nil {
				t.Error("there is a handshake beside the error")
			}
		})
	}
}

// S05: a client that can bind to the channel is not kept from it, and one that does binds to this one.
func TestFlags(t *testing.T) {
	const rest = ",,n=user,r=abc"
	for _, c := range []struct {
		flag string
		plus bool
		on   *scram.Channel
		want scram.Code
	}{
		{"n", false, nil, ""},
		{"n", false, channel, ""},
		{"y", false, nil, ""},
		{"y", false, channel, scram.ServerDoesSupportBinding},
		{"y", true, channel, scram.ServerDoesSupportBinding},
		{"y", true, nil, scram.OtherError},
		{"n", true, channel, scram.OtherError},
		{"n", true, nil, scram.OtherError},
		{"p=tls-exporter", true, channel, ""},
		{"p=tls-exporter", true, nil, scram.ChannelBindingNotSupported},
		{"p=tls-exporter", true, &scram.Channel{}, scram.ChannelBindingNotSupported},
		{"p=tls-exporter", true, &scram.Channel{Exporter: channel.Exporter[:31]}, scram.ChannelBindingNotSupported},
		{"y", false, &scram.Channel{}, ""},
		{"p=tls-exporter", false, channel, scram.ChannelBindingNotSupported},
		{"p=tls-unique", true, channel, scram.UnsupportedChannelBindingType}, // S06
		{"p=tls-server-end-point", true, channel, scram.UnsupportedChannelBindingType},
		{"p=TLS-EXPORTER", true, channel, scram.UnsupportedChannelBindingType},
		{"p=tls-unique", true, nil, scram.UnsupportedChannelBindingType},
	} {
		_, err := scram.Begin(scram.SHA256, c.plus, c.on, []byte(c.flag+rest))
		t.Run(c.flag, func(t *testing.T) { wantCode(t, err, c.want) })
	}
}

// S05, S06: c= holds the whole header and the data of this connection, not of another.
func TestBinding(t *testing.T) {
	data := string(channel.Exporter)
	for _, c := range []struct {
		name, header, bound string
		want                scram.Code
	}{
		{"right", "p=tls-exporter,,", "p=tls-exporter,," + data, ""},
		{"with an authorisation identity", "p=tls-exporter,a=user,", "p=tls-exporter,a=user," + data, ""},
		{"without it", "p=tls-exporter,a=user,", "p=tls-exporter,," + data, scram.ChannelBindingsDontMatch},
		{"another connection", "p=tls-exporter,,", "p=tls-exporter,," + strings.ToUpper(data), scram.ChannelBindingsDontMatch},
		{"no data", "p=tls-exporter,,", "p=tls-exporter,,", scram.ChannelBindingsDontMatch},
		{"less data", "p=tls-exporter,,", "p=tls-exporter,," + data[:31], scram.ChannelBindingsDontMatch},
		{"more data", "p=tls-exporter,,", "p=tls-exporter,," + data + "x", scram.ChannelBindingsDontMatch},
		{"another type", "p=tls-exporter,,", "p=tls-unique,," + data, scram.ChannelBindingsDontMatch},
		{"another flag", "p=tls-exporter,,", "n,,", scram.ChannelBindingsDontMatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			hs, challenge := begun(t, true, channel, c.header+"n=user,r=abc")
			final := prove(t, scram.SHA256, "pencil", "n=user,r=abc", challenge, "c="+b64(c.bound)+",r="+nonceOf(challenge))
			_, _, err := hs.Finish([]byte(final))
			wantCode(t, err, c.want)
		})
	}
}

// K04: no refusal repeats what the client has sent.
func TestErrorsHoldNothingOfTheMessage(t *testing.T) {
	for _, msg := range []string{
		"SECRET", "SECRET,,n=user,r=abc", "n,SECRET,n=user,r=abc", "n,a=SECRET,n=user,r=abc", "n,,n=SECRET\u0007,r=abc",
		"n,,n=SECRET=,r=abc", "n,,n=user,r=SECRET ", "n,,n=user,r=abc,SECRET", "p=SECRET,,n=user,r=abc",
	} {
		_, err := scram.Begin(scram.SHA256, true, channel, []byte(msg))
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v", msg, err)
		}
	}
}
