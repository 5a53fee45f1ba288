package config

import (
	"errors"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "0B": 0, "25MB": 25 << 20, "512KB": 512 << 10, "1GB": 1 << 30, "2MiB": 2 << 20, "2 mb": 2 << 20, "1T": 1 << 40, "7b": 7, "010KB": 10 << 10,
		"8388607TB": 8388607 << 40} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%q is %d, %v", in, got, err)
		}
		if got, err := parseSize(formatSize(want)); err != nil || got != want {
			t.Errorf("%s reads as %d, %v", formatSize(want), got, err)
		}
	}
	for in, try := range map[string]string{"": `write a number and a unit, as "25MB"`, "25": `try "25MB"`, "25MBs": `try "25MB"`, "25 megabytes": `try "25MB"`, "1.5GB": `try "1536MB"`,
		"0.3KB": "write a whole number and a unit", "MB": `write a number and a unit, as "25MB"`, "-1MB": "", "8388608TB": "", "99999999999999999999B": "", "25MB,": `try "25MB"`} {
		_, err := parseSize(in)
		var h *hint
		if !errors.As(err, &h) || h.try != try {
			t.Errorf("%q: %+v", in, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{"15m": 15 * time.Minute, "90s": 90 * time.Second, "2h30m": 150 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour,
		"0s": 0, "1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "10us": 10 * time.Microsecond, "106751d": 106751 * 24 * time.Hour} {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("%q is %v, %v", in, got, err)
		}
		if got, err := parseDuration(formatDuration(want)); err != nil || got != want {
			t.Errorf("%s reads as %v, %v", formatDuration(want), got, err)
		}
	}
	for in, try := range map[string]string{"15": `try "15s"`, "15min": `try "15m"`, "2 hours": `try "2h"`, "3days": `try "3d"`, "5sec": `try "5s"`, "10msec": `try "10ms"`, "-1s": "",
		"106752d": "", "9999999999d": "", "106751d99h": "", "": `write a number and a unit, as "30s", "15m", "2h30m" or "7d"`, "3w": `write it as "30s", "15m", "2h30m" or "7d"`, "99999999999999h": ""} {
		_, err := parseDuration(in)
		var h *hint
		if !errors.As(err, &h) || h.try != try {
			t.Errorf("%q: %+v", in, err)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1": "10.0.0.1/32", "::1": "::1/128", "10.0.0.0/8": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0", "::ffff:192.0.2.1": "192.0.2.1/32"} {
		if got, err := parsePrefix(in); err != nil || got.String() != want {
			t.Errorf("%q is %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "a", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0/-1", "10.0.0.0/", "/8", "10.0.0.0/255.0.255.0"} {
		if got, err := parsePrefix(in); err == nil {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, parts := range [][]string{{"a", "b"}, {"a.b", "c"}, {"", "x"}, {"\"q\"", "\u202e", "é ü"}, {"a\\b"}} {
		got := splitPath(Path(parts...))
		if len(got) != len(parts) {
			t.Errorf("%q becomes %q", parts, got)
			continue
		}
		for i := range got {
			if got[i] != parts[i] {
				t.Errorf("%q becomes %q", parts, got)
			}
		}
	}
	if s := unindexed(`a[0]."b[1]"[22].c`); s != `a."b[1]".c` {
		t.Error(s)
	}
}

func TestWrongPrototypesPanic(t *testing.T) {
	for name, into := range map[string]any{
		"no pointer": strict{}, "nil": (*strict)(nil), "number": new(int),
		"any": &struct {
			X any `toml:"x"`
		}{}, "channel": &struct {
			X chan int `toml:"x"`
		}{}, "map of maps": &struct {
			X map[string]map[string]string `toml:"x"`
		}{}, "list of lists of tables": &struct {
			X [][]login `toml:"x"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			Decode("c", nil, into, Options{})
		}()
	}
}
