package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// userService is somebody's REST service that knows users by name and answers with keys, never with passwords. It wants a secret of its own.
type userService struct {
	URL string

	mu    sync.Mutex
	users map[string]map[string]any
}

const (
	serviceSecret = "the-secret-of-the-service-itself"
	rounds        = 4096
)

func startService(t testing.TB) *userService {
	u := &userService{users: map[string]map[string]any{}}
	s := httptest.NewServer(u)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	u.URL = s.URL
	return u
}

func (u *userService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct{ Username string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Authorization") != "Bearer "+serviceSecret {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	u.mu.Lock()
	answer := maps.Clone(u.users[q.Username])
	u.mu.Unlock()
	if seconds, ok := answer["expire_in"].(int64); ok { // from now, however long the client took to come
		answer["expire_at"] = time.Now().Unix() + seconds
	}
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// put makes a user, or changes one, and returns what must be seen nowhere.
func (u *userService) put(t testing.TB, method string, p proof, more map[string]any) (secrets []string) {
	t.Helper()
	h := map[string]func() hash.Hash{scram256: sha256.New, scram512: sha512.New}[method]
	mac := func(key []byte, text string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	salt := []byte("salt of " + p.name)
	salted, err := pbkdf2.Key(h, p.password, salt, rounds, h().Size())
	if err != nil {
		t.Fatal(err)
	}
	stored := h()
	stored.Write(mac(salted, "Client Key"))
	secrets = []string{hex.EncodeToString(stored.Sum(nil)), hex.EncodeToString(mac(salted, "Server Key"))}
	answer := map[string]any{"stored_key": secrets[0], "server_key": secrets[1], "salt": hex.EncodeToString(salt)}
	maps.Copy(answer, more)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users[p.name] = answer
	return append(secrets, p.password)
}

// settings are those of an authenticator that asks the service, as a file for the CLI has them.
func (u *userService) settings(method string) []byte {
	raw, _ := json.Marshal(map[string]any{
		"url": u.URL + "/scram", "method": "post", "algorithm": methods[method], "iteration_count": rounds,
		"headers": map[string]string{"authorization": "Bearer " + serviceSecret},
		"body":    map[string]any{"username": "${username}", "client": "${clientid}"},
	})
	return raw
}
