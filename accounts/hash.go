package accounts

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/secure/precis"
)

const (
	maxName     = 256
	maxPassword = 1024
	maxBcrypt   = 72 // octets of a password that bcrypt looks at

	// What we make: the first choice of the OWASP password storage sheet.
	makeMemory  = 19456 // KiB
	makePasses  = 2
	makeThreads = 1
	makeCost    = 12
)

// hash is one password hash.
type hash struct {
	bcrypt string // the whole text, or empty for argon2id

	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	sum     []byte
}

// The faults of a hash. None holds a part of it: it is a secret.
var (
	errKind   = errors.New("the hash is neither argon2id ($argon2id$v=19$…) nor bcrypt ($2b$…)")
	errBcrypt = errors.New("the bcrypt hash is damaged: it has 60 characters")
	errArgon  = errors.New("the argon2id hash is damaged: $argon2id$v=19$m=…,t=…,p=…$salt$hash")
)

// parseHash reads a hash and holds it to the limits.
func parseHash(s string, c Config) (hash, error) {
	switch {
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s, c)
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s, c)
	}
	return hash{}, errKind
}

func parseBcrypt(s string, c Config) (hash, error) {
	if len(s) != 60 || s[6] != '$' {
		return hash{}, errBcrypt
	}
	for i := 7; i < len(s); i++ {
		if ch := s[i]; ch != '.' && ch != '/' && !alnum(ch) {
			return hash{}, errBcrypt
		}
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil {
		return hash{}, errBcrypt
	}
	if cost > c.MaxBcryptCost {
		return hash{}, fmt.Errorf("bcrypt cost %d is above max_bcrypt_cost = %d", cost, c.MaxBcryptCost)
	}
	return hash{bcrypt: s}, nil
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func parseArgon(s string, c Config) (hash, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[2] != "v=19" {
		return hash{}, errArgon
	}
	param := strings.Split(part[3], ",")
	if len(param) != 3 {
		return hash{}, errArgon
	}
	m, ok1 := number(param[0], "m=")
	t, ok2 := number(param[1], "t=")
	p, ok3 := number(param[2], "p=")
	if !ok1 || !ok2 || !ok3 || t < 1 || p < 1 || m < 8*p { // RFC 9106 section 3.1
		return hash{}, errArgon
	}
	switch {
	case int64(m) > c.MaxHashMemory>>10:
		return hash{}, fmt.Errorf("argon2id with m=%d needs %d MB, max_hash_memory allows %d MB", m, m>>10, c.MaxHashMemory>>20)
	case t > uint64(c.MaxHashPasses):
		return hash{}, fmt.Errorf("argon2id with t=%d is above max_hash_passes = %d", t, c.MaxHashPasses)
	case p > uint64(min(c.MaxHashThreads, 255)):
		return hash{}, fmt.Errorf("argon2id with p=%d is above max_hash_threads = %d", p, c.MaxHashThreads)
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(part[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(part[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return hash{}, errArgon
	}
	return hash{memory: uint32(m), passes: uint32(t), threads: uint8(p), salt: salt, sum: sum}, nil
}

func number(s, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || digits == "" || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return n, err == nil
}

// matches hashes the password and compares in constant time.
func (h hash) matches(password string) bool {
	if h.bcrypt != "" {
		// Longer ones are cut by bcrypt; here they never match.
		return bcrypt.CompareHashAndPassword([]byte(h.bcrypt), []byte(password)) == nil && len(password) <= maxBcrypt
	}
	sum := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// weak tells why a hash, if stolen, is guessed too easily; empty when it is not.
func (h hash) weak() string {
	if h.bcrypt != "" {
		if cost, _ := bcrypt.Cost([]byte(h.bcrypt)); cost < 10 {
			return fmt.Sprintf("bcrypt cost %d is weak, 10 is the least that is advised", cost)
		}
		return ""
	}
	if uint64(h.memory)*uint64(h.passes) < 12288 {
		return fmt.Sprintf("argon2id with m=%d,t=%d is weak", h.memory, h.passes)
	}
	return ""
}

// String writes an argon2id hash in PHC form.
func (h hash) String() string {
	if h.bcrypt != "" {
		return h.bcrypt
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, b64(h.salt), b64(h.sum))
}

// Line gives the line of the users file for a name and a password, with an
// argon2id hash or a bcrypt one. It refuses what could never log in.
func Line(name, password string, useBcrypt bool) (string, error) {
	if _, err := nameKey(name); err != nil {
		return "", err
	}
	if strings.HasPrefix(name, "#") {
		return "", errors.New("a name cannot begin with #, which begins a comment")
	}
	p, err := prepare(password)
	if err != nil {
		return "", err
	}
	if useBcrypt {
		if len(p) > maxBcrypt {
			return "", fmt.Errorf("bcrypt looks at %d octets of a password only; without --bcrypt it may be longer", maxBcrypt)
		}
		sum, err := bcrypt.GenerateFromPassword([]byte(p), makeCost)
		if err != nil {
			return "", err
		}
		return name + " " + string(sum), nil
	}
	return name + " " + newArgon(p).String(), nil
}

func newArgon(password string) hash {
	salt := make([]byte, 16)
	rand.Read(salt) // it never fails
	return hash{memory: makeMemory, passes: makePasses, threads: makeThreads, salt: salt,
		sum: argon2.IDKey([]byte(password), salt, makePasses, makeMemory, makeThreads, 32)}
}

// prepare brings a password into its one Unicode form (RFC 8265 section 4.2).
// Controls, NUL among them, and octets that are no UTF-8 are refused.
func prepare(password string) (string, error) {
	if len(password) > maxPassword {
		return "", fmt.Errorf("a password has at most %d octets", maxPassword)
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil || !utf8.ValidString(password) {
		return "", errors.New("the password is empty, or has a control character or octets that are no UTF-8")
	}
	return p, nil
}

// nameKey is what a name is compared by (RFC 8265 section 3.3). ":" parts the
// fields of a line, and "/" stands in the names that logins without an account
// have (client certificates).
func nameKey(name string) (string, error) {
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("a name has 1 to %d octets", maxName)
	}
	if strings.ContainsAny(name, ":/") {
		return "", errors.New(`a name has no ":" and no "/"`)
	}
	key, err := precis.UsernameCaseMapped.String(name)
	if err != nil || len(key) > maxName || !utf8.ValidString(name) {
		return "", errors.New("a name has letters, digits and signs only: no blank, no control character")
	}
	return key, nil
}
