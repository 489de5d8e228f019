package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
)

const nonceLen = 12

var errSealed = errors.New("cannot be opened: altered, or sealed for something else")

// sealBytes encrypts plain under a key of its own, derived from key and a fresh salt: salt | nonce | ciphertext and tag.
//
// AES-GCM breaks if a nonce is used twice with a key. Here a repetition needs the same 128 bits of salt and the same
// 96 bits of nonce, after a restore from a backup too, so no count of records has to be kept (K19).
func sealBytes(key []byte, aad string, plain []byte) ([]byte, error) {
	out := make([]byte, saltLen+nonceLen, saltLen+nonceLen+len(plain)+16)
	copy(out, randomBytes(saltLen+nonceLen))
	gcm, err := recordCipher(key, out[:saltLen], aad)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(out, out[saltLen:], plain, []byte(aad)), nil
}

// openBytes decrypts what sealBytes made for the same aad, or returns errSealed.
func openBytes(key []byte, aad string, sealed []byte) ([]byte, error) {
	if len(sealed) < saltLen+nonceLen {
		return nil, errSealed
	}
	gcm, err := recordCipher(key, sealed[:saltLen], aad)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, sealed[saltLen:saltLen+nonceLen], sealed[saltLen+nonceLen:], []byte(aad))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func recordCipher(key, salt []byte, info string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, salt, info, keyLen)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
