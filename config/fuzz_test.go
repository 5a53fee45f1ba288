package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"garita/place"
)

// FuzzDecode: no input panics or hangs; what is accepted can be shown, read
// again and is the same; the form is judged as go-toml judges it.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "hostname = \"a\"\n[limits]\ntimeout = \"1h\"\n",
		"[listener.\"a.b\"]\nrole = 'inbound'\ntrusted_networks = [\"10.0.0.0/8\",\"::1\"]\n",
		"banner = \"\"\"\na\\u00e9\n\"\"\"\nports=[1,2]\nratio=0x10\npeers=[]\n",
		"[[check.access.entry]]\nclient='1.2.3.4'\nuntil=2026-01-02T03:04:05Z\n[check.access.entry.extra]\nnote=''\n[[check.access.entry]]\n",
		"limits.factor=1e-3\nnext_hop.main.login={user=\"u\"}\nweights.x=-0.0\n[x-notes]\na=1979-05-27\n",
		"\ufeffhostname=\"\\u202e\"\r\n[a]\r\n[a]\r\n", "a=[[[[[[1]]]]]]\nb={c={d={}}}", "x=\"\"\"\n", "[a\nb=1\n[c]\nd"} {
		f.Add([]byte(s))
	}
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		p := defaults()
		doc, problems := Decode("config.toml", text, p, options())
		printed := problems.String() + string(problems.JSON())
		for _, r := range printed {
			if r < ' ' && r != '\n' || r == 0x7f || r == '\u202e' {
				t.Fatalf("the report holds %q:\n%q", r, printed)
			}
		}
		for _, name := range []string{"reflect", "config.", "netip", "time.", "strconv", "toml:"} {
			if strings.Contains(strings.ReplaceAll(printed, "config.toml", ""), name) && !strings.Contains(string(text), name) {
				t.Fatalf("the report speaks of %s:\n%s", name, printed)
			}
		}
		sameForm(t, text)
		if len(problems) > 0 {
			return
		}
		for _, nonDefault := range []bool{false, true} {
			shown := Show(doc, p, nonDefault)
			again := defaults()
			doc2, ps := Decode("shown", []byte(shown), again, options())
			if len(ps) > 0 {
				t.Fatalf("shown text is refused:\n%s\n%s", shown, ps)
			}
			// A secret is not shown, so it cannot come back.
			a, b := Show(doc, p, false), Show(doc2, again, false)
			if a != b || len(Diff(p, again)) > 0 && !strings.Contains(a, hidden) {
				t.Fatalf("read again it differs: %v\n%s\n%s", Diff(p, again), a, b)
			}
		}
	})
}

// sameForm compares our judgement of a text's form with go-toml's.
func sameForm(t *testing.T, text []byte) {
	src := newSource("f", 0, text)
	_, problems := parse(src)
	var v map[string]any
	err := toml.Unmarshal([]byte(strings.TrimPrefix(string(text), place.ByteOrderMark)), &v)
	if (err == nil) == (len(problems) == 0) {
		return
	}
	if err == nil {
		if s := problems.String(); strings.Contains(s, "parts") || strings.Contains(s, "not a date") || strings.Contains(s, "carriage return") ||
			strings.Contains(s, "not UTF-8") || strings.Contains(s, "control character") {
			return // we allow less
		}
		t.Fatalf("go-toml accepts it, we do not:\n%s", problems)
	}
	if s := err.Error(); strings.Contains(s, "range") || strings.Contains(s, "too large") {
		return // numbers are read when their key is known
	}
	t.Fatalf("go-toml refuses it, we do not: %v\n%q", err, text)
}

func TestCloneIsDeep(t *testing.T) {
	p := defaults()
	c := clone(reflect.ValueOf(p).Elem()).Interface().(proto)
	p.Peers[0] = "changed"
	p.Weights["spf"] = 9
	p.NextHop["main"].URL = "changed"
	if c.Peers[0] != "a" || c.Weights["spf"] != 1.5 || c.NextHop["main"].URL != "smtp://127.0.0.1:26" {
		t.Fatalf("the copy changed: %+v", c)
	}
}
