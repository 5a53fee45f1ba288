package accounts

import (
	"fmt"
	"path/filepath"
	"time"
)

// Config is the [users] table.
type Config struct {
	File           string        `toml:"file" doc:"The users who may log in: one a line, a name and the hash of its password as garita user-password prints it (argon2id or bcrypt; htpasswd -B and Dovecot's passwd-file are understood). It must not be readable by everybody. Empty: nobody can log in."`
	AtOnce         int           `toml:"at_once" doc:"Passwords that are hashed at once; one more place is kept for clients that have logged in lately. Each takes the memory that its hash asks for."`
	Wait           time.Duration `toml:"wait" doc:"How long a login may wait for its turn at hashing before it is told to try again (454)."`
	MaxDelay       time.Duration `toml:"max_delay" doc:"Longest time that a login waits because of failures before it; one that would have to wait longer is told to try again (454)."`
	MaxHashMemory  int64         `toml:"max_hash_memory" unit:"bytes" doc:"Most memory that an argon2id hash of the file may ask for."`
	MaxHashPasses  int           `toml:"max_hash_passes" doc:"Most passes (t) that an argon2id hash of the file may ask for."`
	MaxHashThreads int           `toml:"max_hash_threads" doc:"Most threads (p) that an argon2id hash of the file may ask for."`
	MaxBcryptCost  int           `toml:"max_bcrypt_cost" doc:"Highest cost of a bcrypt hash of the file; each step doubles its time."`
}

// Default gives the defaults: 64 MB is what RFC 9106 asks of a machine with
// little memory, and what other programs make.
func Default() Config {
	return Config{
		AtOnce:         2,
		Wait:           10 * time.Second,
		MaxDelay:       15 * time.Second,
		MaxHashMemory:  64 << 20,
		MaxHashPasses:  10,
		MaxHashThreads: 8,
		MaxBcryptCost:  14,
	}
}

// Validate tells everything that is wrong. It reads no files.
func (c Config) Validate() []error {
	var errs []error
	if c.File != "" && !filepath.IsAbs(c.File) {
		errs = append(errs, fmt.Errorf("file = %q: must be an absolute path, for example /etc/garita/users", c.File))
	}
	between := func(key string, v, low, high int64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s = %d: must lie between %d and %d", key, v, low, high))
		}
	}
	between("at_once", int64(c.AtOnce), 1, 64)
	between("max_hash_passes", int64(c.MaxHashPasses), 1, 100)
	between("max_hash_threads", int64(c.MaxHashThreads), 1, 64)
	between("max_bcrypt_cost", int64(c.MaxBcryptCost), 10, 18)
	if c.MaxHashMemory < 19<<20 || c.MaxHashMemory > 4<<30 {
		errs = append(errs, fmt.Errorf("max_hash_memory = %d: must lie between 19MB, what garita user-password uses, and 4GB", c.MaxHashMemory))
	}
	for _, d := range []struct {
		key string
		v   time.Duration
	}{{"wait", c.Wait}, {"max_delay", c.MaxDelay}} {
		if d.v < time.Second || d.v > 5*time.Minute {
			errs = append(errs, fmt.Errorf("%s = %s: must lie between 1s and 5m, the time that clients wait for a reply (RFC 5321 section 4.5.3.2)", d.key, d.v))
		}
	}
	return errs
}
