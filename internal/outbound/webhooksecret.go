package outbound

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"cardea/internal/credential"
)

// Secrets of webhooks, as Standard Webhooks has them.
const (
	webhookSecretPrefix = "whsec_"
	minWebhookKey       = 24 // bytes
	maxWebhookKey       = 64
	maxWebhookSecrets   = 4 // with which one delivery is signed
)

// NewWebhookSecret makes the secret of a webhook, of 32 random bytes. It is to be sealed, shown once, and never logged.
func NewWebhookSecret() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails: it ends the program instead
	return webhookSecretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// CheckWebhookSecret adds to p what is wrong with a secret that somebody has brought. Nothing of it is repeated.
func CheckWebhookSecret(s string, p *credential.Problems) {
	_, why := webhookKey(s)
	note(p, "secret", why)
}

// webhookKey is the key that a secret stands for.
func webhookKey(s string) (key []byte, why string) {
	text, ok := strings.CutPrefix(s, webhookSecretPrefix)
	if ok && len(text) <= base64.StdEncoding.EncodedLen(maxWebhookKey) && !strings.ContainsAny(text, "\r\n") { // which the decoder skips
		key, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && len(key) >= minWebhookKey && len(key) <= maxWebhookKey {
			return key, ""
		}
	}
	return nil, fmt.Sprintf("must be %s and the base64 of %d to %d random bytes, with its padding", webhookSecretPrefix, minWebhookKey, maxWebhookKey)
}

// signWebhook is the header's value: a signature by each secret, with a blank between them.
func signWebhook(d *credential.Dispatch, timestamp string) (signatures, why string) {
	if n := len(d.Secrets); n == 0 || n > maxWebhookSecrets {
		return "", fmt.Sprintf("a webhook must have 1 to %d secrets", maxWebhookSecrets)
	}
	all := make([]string, len(d.Secrets))
	for i, s := range d.Secrets {
		key, why := webhookKey(s)
		if why != "" {
			return "", "the webhook's secret " + why
		}
		sum := hmac.New(sha256.New, key)
		_, _ = sum.Write([]byte(d.ID + "." + timestamp + "."))
		_, _ = sum.Write(d.Body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(sum.Sum(nil))
	}
	return strings.Join(all, " "), ""
}
