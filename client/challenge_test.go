package client_test

import (
	"strings"
	"testing"

	"cardea/client"
)

// RFC 9110 section 11.6.1: one field holds any number of challenges, and a comma separates those as well as their parameters.
func TestChallenges(t *testing.T) {
	for line, want := range map[string]string{
		`Bearer error="invalid_token"`:                                      "invalid_token",
		`bearer ERROR=invalid_token`:                                        "invalid_token",
		`Bearer realm="a, error=\"x\"", error = "invalid_token"`:            "invalid_token",
		`Basic realm="x", Bearer realm="y",error="invalid_token",scope="z"`: "invalid_token",
		`DPoP algs="ES256", error="use_dpop_nonce"`:                         "use_dpop_nonce",
		`Digest error="no", Bearer error="yes"`:                             "yes",
		`Digest error="no"`:                                                 "",
		`Bearer`:                                                            "",
		`Bearer realm="x"`:                                                  "",
		`Bearer error_description="invalid_token"`:                          "",
		`Negotiate abc==, Bearer error="x"`:                                 "",
		`Bearer error="open`:                                                "open",
		`"`:                                                                 "",
		``:                                                                  "",
	} {
		if got := client.ChallengeError(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// FuzzChallenge: whatever a server says, the answer is a part of it.
func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="a, error=\"x\"", error="invalid_token"`)
	f.Add(`Negotiate a==,,DPoP error=x`)
	f.Fuzz(func(t *testing.T, line string) {
		if got := client.ChallengeError(line); !strings.Contains(strings.ReplaceAll(line, `\`, ""), strings.ReplaceAll(got, `\`, "")) {
			t.Errorf("%q of %q", got, line)
		}
	})
}
