package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadDropIns(t *testing.T) {
	dir := t.TempDir()
	main := write(t, filepath.Join(dir, "config.toml"), "hostname = \"a\"\npeers = [\"x\", \"y\"]\n[limits]\nmax_hops = 1\nmax_connections = 7\n[listener.in]\nrole = \"inbound\"\n")
	write(t, filepath.Join(dir, "conf.d/20-b.toml"), "hostname = \"c\"\n[listener.in]\nstarttls = false\n")
	write(t, filepath.Join(dir, "conf.d/10-a.toml"), "hostname = \"b\"\npeers = [\"z\"]\n[limits]\nmax_hops = 2\n[listener.more]\nrole = \"content-filter\"\n")
	write(t, filepath.Join(dir, "conf.d/.hidden.toml"), "hostname = 5\n")
	write(t, filepath.Join(dir, "conf.d/10-a.toml.bak"), "hostname = 5\n")
	p := defaults()
	doc, problems := Load(main, p, options())
	if problems != nil {
		t.Fatal(problems)
	}
	if p.Hostname != "c" || p.Limits.MaxHops != 2 || p.Limits.MaxConnections != 7 || len(p.Peers) != 1 || p.Peers[0] != "z" {
		t.Fatalf("%+v", p)
	}
	if in := p.Listener["in"]; in.Role != "inbound" || in.STARTTLS || in.Size != 25<<20 {
		t.Fatalf("%+v", in)
	}
	if more := p.Listener["more"]; more.STARTTLS || more.Role != "content-filter" {
		t.Fatalf("%+v", more)
	}
	for key, want := range map[string]string{"hostname": "20-b.toml:1:1", "limits.max_hops": "10-a.toml:4:1", "limits.max_connections": "config.toml:5:1"} {
		pos, ok := doc.Position(key)
		if got := fmt.Sprintf("%s:%d:%d", filepath.Base(pos.File), pos.Line, pos.Column); !ok || got != want {
			t.Errorf("%s is set at %s, want %s", key, got, want)
		}
	}
	if len(doc.Files) != 3 {
		t.Errorf("files %v", doc.Files)
	}
	alone := defaults()
	if _, problems := Load(main, alone, Options{EntryDefaults: entries, NoDropIns: true}); problems != nil || alone.Hostname != "a" {
		t.Fatalf("%v %+v", problems, alone)
	}
}

// TestDropInProblems: a mistake in a drop-in carries that file's name, and
// those of all files are reported in the order of the files.
func TestDropInProblems(t *testing.T) {
	dir := t.TempDir()
	main := write(t, filepath.Join(dir, "config.toml"), "hostnme = \"a\"\n")
	write(t, filepath.Join(dir, "conf.d/a.toml"), "[limits]\nmax_hops = \"x\"\n")
	write(t, filepath.Join(dir, "conf.d/b.toml"), "peers = 5\n[limits\n")
	_, problems := Load(main, defaults(), options())
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line))
	}
	if s := strings.Join(got, " "); s != "config.toml:1 a.toml:2 b.toml:1 b.toml:2" {
		t.Fatalf("%s\n%s", s, problems)
	}
}

// TestPrototypeIsNotShared: loading twice from one prototype must not leave
// entries of the first load in the second.
func TestPrototypeIsNotShared(t *testing.T) {
	base := defaults()
	a := *base
	if _, problems := Decode("a", []byte("peers=[\"q\"]\n[weights]\ndkim = 2.0\n[next_hop.main]\nurl=\"u\"\n[next_hop.b]\n"), &a, options()); problems != nil {
		t.Fatal(problems)
	}
	if len(base.Weights) != 1 || len(base.NextHop) != 1 || base.NextHop["main"].URL != "smtp://127.0.0.1:26" || base.Peers[0] != "a" {
		t.Fatalf("the prototype changed: %+v", base)
	}
	if a.Weights["dkim"] != 2 || a.Weights["spf"] != 1.5 || a.NextHop["main"].URL != "u" {
		t.Fatalf("%+v", a)
	}
}

func TestLoadFaults(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(dir, "file"), "")
	for path, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "does not exist",
		dir:                             "is a folder, not a file",
		pipe:                            "is not a regular file",
		filepath.Join(file, "x.toml"):   "does not exist: a part of its path is a file",
		dir + "/\x1b[2J\x00":            "cannot be read: invalid argument",
	} {
		doc, problems := Load(path, strictDefaults(), Options{NoDropIns: true})
		if len(problems) != 1 || problems[0].Text != want || problems[0].Line != 0 {
			t.Errorf("%q: %v", path, problems)
		}
		if s := problems.String(); strings.ContainsAny(s, "\x1b\x00") {
			t.Errorf("the report is %q", s)
		}
		doc.Add("limits.max_hops", "is odd", "") // must not need a position
	}
	if err := fileError(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}); err.Error() != "may not be read by this user" {
		t.Error(err)
	}
	if err := fileError(errors.New("other")); err.Error() != "cannot be read: other" {
		t.Error(err)
	}
	// conf.d as a file, and a folder that ends in .toml.
	main := write(t, filepath.Join(dir, "a/config.toml"), "")
	write(t, filepath.Join(dir, "a/conf.d"), "")
	if _, problems := Load(main, defaults(), options()); len(problems) != 1 || !strings.HasSuffix(problems[0].File, "conf.d") {
		t.Errorf("%v", problems)
	}
	main = write(t, filepath.Join(dir, "b/config.toml"), "")
	if err := os.MkdirAll(filepath.Join(dir, "b/conf.d/x.toml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(main, defaults(), options()); len(problems) != 1 || problems[0].Text != "is a folder, not a file" {
		t.Errorf("%v", problems)
	}
	for i := range maxDropIns + 1 {
		write(t, filepath.Join(dir, "c/conf.d", fmt.Sprintf("%04d.toml", i)), "")
	}
	main = write(t, filepath.Join(dir, "c/config.toml"), "")
	if _, problems := Load(main, defaults(), options()); len(problems) != 1 || problems[0].Text != "holds more than 256 files" {
		t.Errorf("%v", problems)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secrets/pw"), "hunter2\n")
	write(t, filepath.Join(dir, "cred/pw"), "from systemd\r\n")
	write(t, filepath.Join(dir, "secrets/empty"), "\n")
	write(t, filepath.Join(dir, "secrets/two"), "a\nb\n")
	write(t, filepath.Join(dir, "secrets/large"), strings.Repeat("x", maxSecret+1))
	load := func(text string, opts Options) (*proto, *Document, Problems) {
		p := defaults()
		doc, problems := Load(write(t, filepath.Join(dir, "config.toml"), text), p, opts)
		return p, doc, problems
	}
	head := "[next_hop.main.login]\nuser = \"u\"\n"
	p, doc, problems := load(head+"password_file = \"secrets/pw\"\n", Options{})
	if problems != nil || p.NextHop["main"].Login.Password != "hunter2" {
		t.Fatalf("%v %+v", problems, p.NextHop["main"].Login)
	}
	if s := Show(doc, p, false); strings.Contains(s, "hunter2") || !strings.Contains(s, `password_file = "secrets/pw"`) {
		t.Errorf("shown:\n%s", s)
	}
	if len(doc.Warnings()) != 0 {
		t.Errorf("%v", doc.Warnings())
	}
	p, _, problems = load(head+"password_file = \"pw\"\n", Options{Credentials: filepath.Join(dir, "cred")})
	if problems != nil || p.NextHop["main"].Login.Password != "from systemd" {
		t.Fatalf("%v %+v", problems, p.NextHop["main"].Login)
	}
	for name, want := range map[string]string{"empty": "is empty", "two": "holds a line break", "large": "is larger than 64KB", "none": "does not exist"} {
		_, _, problems := load(head+"password_file = \"secrets/"+name+"\"\n", Options{})
		if len(problems) != 1 || !strings.HasSuffix(problems[0].Text, want) || problems[0].Line != 3 || problems[0].Key != "next_hop.main.login.password_file" {
			t.Errorf("%s: %v", name, problems)
		}
	}
	// A later file's form of the secret replaces the earlier one's.
	write(t, filepath.Join(dir, "conf.d/a.toml"), "[next_hop.main.login]\npassword = \"later\"\n")
	p, doc, problems = load(head+"password_file = \"secrets/none\"\n", Options{})
	if problems != nil || p.NextHop["main"].Login.Password != "later" {
		t.Fatalf("%v %+v", problems, p.NextHop["main"].Login)
	}
	if s := Show(doc, p, true); strings.Contains(s, "later") || !strings.Contains(s, `password = "(secret)"`) {
		t.Errorf("shown:\n%s", s)
	}
	if len(doc.Warnings()) != 0 {
		t.Errorf("%v", doc.Warnings())
	}
	if err := os.Chmod(filepath.Join(dir, "conf.d/a.toml"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, doc, problems = load(head, Options{})
	if w := doc.Warnings(); problems != nil || len(w) != 1 || w[0].Line != 2 || strings.Contains(w.String(), "later") {
		t.Errorf("%v %v", problems, w)
	}
}

// TestAdd: the caller's own findings get the position of the key, or of what
// is nearest to it.
func TestAdd(t *testing.T) {
	text := "hostname = \"a\"\n[listener.in]\nrole = \"inbound\"\nlisten = [\"a\", \"b\"]\n[[check.access.entry]]\naction = \"reject\"\n[listener.\"x.y\"]\nrole='outbound'\n"
	doc, problems := Decode("c", []byte(text), defaults(), options())
	if problems != nil {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		key          string
		line, column int
	}{
		{"hostname", 1, 12}, {"listener.in.role", 3, 8}, {"listener.in.listen[1]", 4, 16}, {"listener.in.next_hop", 2, 2},
		{"listener.in.listen[7]", 4, 1}, {"check.access.entry[0].client", 5, 3}, {"next_hop.gone", 1, 1}, {"", 1, 1},
		{Path("listener", "x.y", "role"), 8, 6}, {Path("listener", "x.y", "size"), 7, 2},
	} {
		doc.Add(c.key, "is odd\x1b", "")
		ps := doc.problems
		if p := ps[len(ps)-1]; p.Line != c.line || p.Column != c.column || p.Text != `is odd\x1b` {
			t.Errorf("%s: %+v", c.key, p)
		}
	}
	ps := doc.Problems()
	for i := 1; i < len(ps); i++ {
		if ps[i].Line < ps[i-1].Line {
			t.Errorf("line %d after %d", ps[i].Line, ps[i-1].Line)
		}
	}
	if !doc.IsSet("hostname") || doc.IsSet("banner") {
		t.Error("IsSet is wrong")
	}
	if _, ok := doc.Position("banner"); ok {
		t.Error("banner has a position")
	}
}
