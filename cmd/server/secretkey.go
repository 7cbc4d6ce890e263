package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strings"

	"behest/webhook"
)

// secretKeyFile holds the key that the secrets of webhooks are derived from, and
// that commands are sealed with: one line of the prefix and, in URL-safe base64, the key and its CRC-32.
const (
	secretKeyFile    = "secret-key"
	secretKeyPrefix  = "bsk1_"
	secretKeyMax     = 256   // bytes of the file
	secretKeyOthers  = 0o077 // what nobody else may do with it
	secretKeyAdvised = "put back the one that belongs to the database"
)

// secretKey reads the key in path. Where there is none one is made, unless
// webhooks exist: with another key their receivers would take no message, so
// that has to be said with fresh.
func secretKey(path string, webhooks int, fresh bool) (key webhook.Key, made bool, err error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && webhooks > 0 && !fresh:
		return key, false, fmt.Errorf("%s is missing, and %d webhooks have their secrets from it: %s, or start once with --reset-secret-key and give each receiver a new secret",
			path, webhooks, secretKeyAdvised)
	case errors.Is(err, fs.ErrNotExist):
		key = webhook.NewKey()
		return key, true, replaceFile(path, []byte(secretKeyText(key)), 0o600)
	case err != nil:
		return key, false, fmt.Errorf("read the secret key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key, false, fmt.Errorf("read the secret key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&secretKeyOthers != 0 {
		return key, false, fmt.Errorf("%s has mode %04o, so that others can read or change it: chmod 600, and if somebody may have read it, replace it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, secretKeyMax))
	if err != nil {
		return key, false, fmt.Errorf("read the secret key: %w", err)
	}
	key, ok := parseSecretKey(string(text))
	if !ok {
		return key, false, fmt.Errorf("%s is damaged: %s", path, secretKeyAdvised)
	}
	return key, false, nil
}

// secretKeyText is the key as it lies in its file.
func secretKeyText(key webhook.Key) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(key[:]))
	return secretKeyPrefix + base64.RawURLEncoding.EncodeToString(append(key[:], sum...)) + "\n"
}

// parseSecretKey is the inverse. White space around it does no harm.
func parseSecretKey(text string) (key webhook.Key, ok bool) {
	text = strings.TrimSpace(text)
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(text, secretKeyPrefix))
	if err != nil || len(b) < len(key) {
		return key, false
	}
	copy(key[:], b)
	return key, secretKeyText(key) == text+"\n"
}
