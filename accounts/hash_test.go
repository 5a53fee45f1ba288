package accounts

import (
	"strings"
	"testing"
)

// Hashes that other programs made, for the password "secreto": crypt(3) of
// libxcrypt, and argon2 -id -t 2 -m 15 -p 1 of Debian's package argon2.
const (
	bcryptSecreto = "$2y$10$abcdefghijklmnopqrstuuBFuD94qbpK6wLFli0uIYZ1IXrqAgRDG"
	argonSecreto  = "$argon2id$v=19$m=32768,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$bn/j3wuUCE1eJAvA5X5TI6nYO+zFo+63YETuD3k/V6U"
)

func TestHashesOfOthers(t *testing.T) {
	c := Default()
	for name, h := range map[string]string{
		"argon2 -id -t 2 -m 15 -p 1": argonSecreto,
		"htpasswd -B":                bcryptSecreto,
		"bcrypt 2b":                  strings.Replace(bcryptSecreto, "$2y$", "$2b$", 1),
		"bcrypt 2a":                  strings.Replace(bcryptSecreto, "$2y$", "$2a$", 1),
	} {
		got, err := parseHash(h, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.matches("secreto") || got.matches("Secreto") {
			t.Errorf("%s does not verify", name)
		}
		if got.String() != h {
			t.Errorf("%s: written as %s", name, got)
		}
	}
}

// Lines as htpasswd, Dovecot and we write them.
func TestLinesOfOthers(t *testing.T) {
	text := "htpasswd:" + bcryptSecreto + "\r\n" +
		"dovecot:{ARGON2ID}" + argonSecreto + "::::::\n" +
		"crypt:{BLF-CRYPT}" + bcryptSecreto + "\n" +
		"ours \t " + argonSecreto + " the note: of somebody\n# comment\n\n#ours x\nlast " + argonSecreto
	u, problems := parse("f", []byte(text), Default())
	if len(problems) > 0 || u.Len() != 5 {
		t.Fatal(u, problems)
	}
	for name, i := range u.byName {
		if s := u.hashes[i].String(); s != argonSecreto && s != bcryptSecreto {
			t.Errorf("%s has %s", name, s)
		}
	}
}

// A file cannot eat memory or time; damage is told without the hash.
func TestHashLimits(t *testing.T) {
	c := Default()
	salt := "$MTIzNDU2Nzg5MDEyMzQ1Ng$"
	sum := strings.Repeat("A", 43)
	for _, h := range []string{
		"$argon2id$v=19$m=65537,t=1,p=1" + salt + sum, "$argon2id$v=19$m=4294967295,t=1,p=1" + salt + sum,
		"$argon2id$v=19$m=99999999999999999999,t=1,p=1" + salt + sum,
		"$argon2id$v=19$m=64,t=11,p=1" + salt + sum, "$argon2id$v=19$m=4096,t=1,p=9" + salt + sum, "$argon2id$v=19$m=4096,t=1,p=256" + salt + sum,
		"$argon2id$v=19$m=64,t=0,p=1" + salt + sum, "$argon2id$v=19$m=64,t=1,p=0" + salt + sum, "$argon2id$v=19$m=7,t=1,p=1" + salt + sum,
		"$argon2id$v=16$m=64,t=1,p=1" + salt + sum, "$argon2id$m=64,t=1,p=1" + salt + sum, "$argon2id$v=19$m=64,t=1" + salt + sum,
		"$argon2id$v=19$m=+64,t=1,p=1" + salt + sum, "$argon2id$v=19$t=1,m=64,p=1" + salt + sum, "$argon2id$v=19$m=64,t=1,p=1,x=1" + salt + sum,
		"$argon2id$v=19$m=64,t=1,p=1$MTIz$" + sum, "$argon2id$v=19$m=64,t=1,p=1" + salt + "AAAA", "$argon2id$v=19$m=64,t=1,p=1" + salt, "$argon2id$v=19$m=64,t=1,p=1" + salt + sum + "$x",
		"$argon2id$v=19$m=64,t=1,p=1" + salt + strings.Repeat("A", 100),
		"$argon2i$v=19$m=64,t=1,p=1" + salt + sum, "$argon2d$v=19$m=64,t=1,p=1" + salt + sum,
		strings.Replace(bcryptSecreto, "$10$", "$15$", 1), strings.Replace(bcryptSecreto, "$10$", "$99$", 1), strings.Replace(bcryptSecreto, "$10$", "$-1$", 1),
		strings.Replace(bcryptSecreto, "$2y$", "$2x$", 1), bcryptSecreto[:59], bcryptSecreto + "x", bcryptSecreto[:59] + "!",
		"", "x", "plain", "{PLAIN}plain", "$1$salt$hash", "$6$salt$hash", "!", "*",
	} {
		if _, err := parseHash(h, c); err == nil {
			t.Errorf("%q was accepted", h)
		} else if strings.Contains(err.Error(), "AAAA") || strings.Contains(err.Error(), "MTIz") {
			t.Errorf("the hash shows: %v", err)
		}
	}
	if u, p := parse("f", []byte("a "+strings.Replace(bcryptSecreto, "$10$", "$05$", 1)+"\n"), c); len(p) > 0 || len(u.weak) != 1 {
		t.Error("a weak hash has no warning", p)
	}
}

func TestLine(t *testing.T) {
	for _, x := range []struct{ name, password string }{
		{"", "x"}, {"a b", "x"}, {"a:b", "x"}, {"a/b", "x"}, {"#a", "x"}, {"a\n", "x"}, {strings.Repeat("a", 257), "x"},
		{"a", ""}, {"a", "x\ny"}, {"a", "\xff"}, {"a", strings.Repeat("x", 1025)},
	} {
		if l, err := Line(x.name, x.password, false); err == nil {
			t.Errorf("%.20q %.20q: %s", x.name, x.password, l)
		} else if x.password != "x" && x.password != "" && strings.Contains(err.Error(), x.password) {
			t.Errorf("shows the password: %v", err)
		}
	}
	if _, err := Line("a", strings.Repeat("x", 73), true); err == nil {
		t.Error("bcrypt would cut it")
	}
	one, _ := Line("a", "x", false)
	two, _ := Line("a", "x", false)
	if one == two {
		t.Error("no salt")
	}
}

func TestConfig(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := (Config{File: "users"}).Validate(); len(errs) != 8 {
		t.Errorf("%d errors: %v", len(errs), errs)
	}
}

// FuzzHash: what is read is within the limits and is written as it was.
func FuzzHash(f *testing.F) {
	f.Add(argonSecreto)
	f.Add(bcryptSecreto)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$MTIzNDU2Nzg$AAAAAAAAAAAAAAAAAAAAAA")
	c := Default()
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s, c)
		if err != nil {
			if len(err.Error()) > 200 {
				t.Error("a long error")
			}
			return
		}
		if h.bcrypt != "" {
			if len(h.bcrypt) != 60 {
				t.Error("length")
			}
			return
		}
		if int64(h.memory)<<10 > c.MaxHashMemory || h.passes < 1 || int(h.passes) > c.MaxHashPasses || h.threads < 1 || len(h.sum) > 64 || len(h.salt) > 64 {
			t.Errorf("beyond the limits: %+v", h)
		}
		again, err := parseHash(h.String(), c)
		if err != nil || again.String() != h.String() {
			t.Errorf("%q is written as %q: %v", s, h, err)
		}
	})
}

// FuzzUsers: no file makes a panic, an unbounded list of faults, or a user
// whose name does not stand for itself.
func FuzzUsers(f *testing.F) {
	f.Add([]byte("ana " + argonSecreto + " note\nbob:" + bcryptSecreto + "\n# c\n\n"))
	f.Add([]byte("A " + bcryptSecreto + "\na " + bcryptSecreto))
	f.Add([]byte("\xef\xbb\xbfx y\n z\n:\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, problems := parse("f", b, Default())
		if len(problems) > maxProblems || len(u.weak) > maxWarnings {
			t.Error("unbounded")
		}
		if len(u.byName) != len(u.hashes) {
			t.Error("a name twice")
		}
		for _, p := range problems {
			if strings.ContainsAny(p.Error(), "\n\x1b") {
				t.Errorf("unescaped: %q", p)
			}
		}
		for name := range u.byName {
			if key, err := nameKey(name); err != nil || key != name {
				t.Errorf("%q has the key %q: %v", name, key, err)
			}
		}
	})
}

// BenchmarkVerify is one login with the hash that garita user-password makes.
func BenchmarkVerify(b *testing.B) {
	h := newArgon("x")
	for b.Loop() {
		h.matches("x")
	}
}
