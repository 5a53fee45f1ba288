package clamav

import (
	"strings"
	"testing"
	"unicode"
)

func TestParseReply(t *testing.T) {
	for in, want := range map[string]kind{
		"stream: OK": clean, "stream: OK\n": nonsense, "stream:OK": nonsense, "Stream: OK": nonsense, " stream: OK": nonsense,
		"": nonsense, "OK": nonsense, "1: stream: OK": nonsense, "stream: ": nonsense, "stream: FOUND": nonsense,
		"stream:  FOUND": nonsense, "stream: X FOUND": found, "stream: X: Y Z FOUND": found, "stream: X FOUND ": nonsense,
		"1: stream: X FOUND": nonsense, "stream: OK FOUND": found, "stream: X FOUND\nstream: OK": nonsense,
		"stream: Can't allocate memory ERROR": failed, "INSTREAM size limit exceeded. ERROR": oversize,
		"Error writing to temporary file. ERROR": failed, "UNKNOWN COMMAND": failed, "COMMAND READ TIMED OUT": failed,
		"Reloading ERROR": reloading, "\x00stream: OK": nonsense,
	} {
		if got := parseReply([]byte(in)); got.kind != want {
			t.Errorf("%q: %v, want %v", in, got.kind, want)
		}
	}
	if r := parseReply([]byte("stream: a\rb\x1b[2J\xff\\ FOUND")); r.name != `a\x0db\x1b[2J\xff\x5c` {
		t.Errorf("name %q", r.name)
	}
	if r := parseReply([]byte("stream: " + strings.Repeat("a", 1000) + " FOUND")); len(r.name) > maxName+3 || r.kind != found {
		t.Errorf("a name of %d octets", len(r.name))
	}
}

func TestTrimExtended(t *testing.T) {
	for in, want := range map[string]string{
		"X(44d88612fea8a8f36de82e1278abb02f:68)": "X", "X(44d88612fea8a8f36de82e1278abb02f:)": "X(44d88612fea8a8f36de82e1278abb02f:)",
		"X(1:2)": "X(1:2)", "(44d88612fea8a8f36de82e1278abb02f:68)": "(44d88612fea8a8f36de82e1278abb02f:68)", ")": ")", "()": "()",
	} {
		if got := string(trimExtended([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	if at, ok := parseVersion("ClamAV 1.4.6/27123/Sun Nov  8 08:00:01 2026"); !ok || at.Day() != 8 {
		t.Errorf("%v %v", at, ok)
	}
	for in, want := range map[string]bool{"ClamAV 1.4.6": true, "ClamAV 1.4.6/1/never": true, "": false, "PONG": false, "ClamAV " + strings.Repeat("1", 300): false} {
		if _, ok := parseVersion(in); ok != want {
			t.Errorf("%q: %v", in, ok)
		}
	}
}

// FuzzReply: only one text is clean, and nothing unprintable leaves the parser.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"stream: OK", "stream: X FOUND", "1: stream: OK", "INSTREAM size limit exceeded. ERROR", "stream: X(44d88612fea8a8f36de82e1278abb02f:68) FOUND",
		"stream: \x00 FOUND", "stream: \n FOUND", "ClamAV 1.4.6/27123/Sun Nov 22 08:00:00 2026"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r := parseReply(p)
		if (r.kind == clean) != (string(p) == "stream: OK") {
			t.Fatalf("%q is %v", p, r.kind)
		}
		if (r.kind == found) != (r.name != "") {
			t.Fatalf("%q is %v with the name %q", p, r.kind, r.name)
		}
		if r.kind == found && !strings.HasSuffix(string(p), " FOUND") {
			t.Fatalf("%q is %v", p, r.kind)
		}
		for _, s := range []string{r.name, r.text} {
			if len(s) > maxName+3 || strings.IndexFunc(s, func(c rune) bool { return c > unicode.MaxASCII || !unicode.IsPrint(c) }) >= 0 {
				t.Fatalf("%q leaves %q", p, s)
			}
		}
		_ = classify(r.name)
		if n := replyName(r.name); n != "" && n != r.name {
			t.Fatalf("%q", n)
		}
		_, _ = parseVersion(string(p))
	})
}

// FuzzConfigFile: any clamd.conf gives limits or an error.
func FuzzConfigFile(f *testing.F) {
	f.Add([]byte("StreamMaxLength 25M\nAlertExceedsMax yes\n# x\nMaxFileSize 0\n"))
	f.Add([]byte("MaxScanSize 9999999999G"))
	f.Fuzz(func(t *testing.T, p []byte) {
		l, err := parseLimits(p)
		if err == nil && (l.StreamMax < 0 || l.MaxFile < 0 || l.MaxScan < 0) {
			t.Fatalf("%+v", l)
		}
	})
}
