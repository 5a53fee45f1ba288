package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func strictDefaults() *strict {
	return &strict{Mode: "enforce", Limits: limits{MaxConnections: 1000, MaxHops: 50, MessageMemory: 2 << 20, Timeout: 1e9, Factor: 0.2}}
}

// TestBroken: each broken file gives exactly the report beside it.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d broken files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := Decode("config.toml", text, strictDefaults(), options())
			if len(problems) == 0 {
				t.Fatal("it is accepted")
			}
			got := problems.String()
			if strings.Contains(got, "hunter") {
				t.Errorf("the report shows a secret:\n%s", got)
			}
			for _, typ := range []string{"int64", "uint8", "float64", "bool", "map[", "[]", "struct", "netip", "time.Duration", "reflect", "config."} {
				if strings.Contains(strings.ReplaceAll(got, "config.toml", ""), typ) && !bytes.Contains(text, []byte(typ)) {
					t.Errorf("the report speaks of %s:\n%s", typ, got)
				}
			}
			for _, c := range got {
				if c < ' ' && c != '\n' || c == 0x7f || c == '\u202e' {
					t.Errorf("the report holds %q", c)
				}
			}
			want := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			golden, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(golden) {
				t.Errorf("got:\n%s\nwant:\n%s", got, golden)
			}
		})
	}
}

func TestHugeFile(t *testing.T) {
	text := append([]byte("hostname = \"a\"\n"), bytes.Repeat([]byte("# filler\n"), 2<<20/9)...)
	_, problems := Decode("config.toml", text, defaults(), options())
	if len(problems) != 1 || problems[0].Text != "is larger than 1 MB" || problems[0].Line != 0 {
		t.Fatalf("%v", problems)
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems = Load(file, strictDefaults(), options())
	if len(problems) != 1 || problems[0].Text != "is larger than 1 MB" {
		t.Fatalf("%v", problems)
	}
}

// TestManyProblems: a file of nothing but mistakes gives a bounded report that
// says how much it leaves out.
func TestManyProblems(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString("k" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + "_" + strings.Repeat("y", i/200) + " = 1\n")
	}
	var unknown strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&unknown, "hostnme%d = 1\n", i)
	}
	for name, text := range map[string]string{"keys": b.String(), "syntax": strings.Repeat("a = = 1\n", 5000), "bytes": strings.Repeat("\x01\n", 5000),
		"nesting": "a = " + strings.Repeat("[", 500_000), "braces": "a = " + strings.Repeat("{a=", 200_000), "dots": strings.Repeat("a.", 400_000) + "b = 1\n",
		"list": "peers = [" + strings.Repeat("1,", 400_000) + "]\n", "lists": "peers = [\n" + strings.Repeat("[\n", 5000),
		"inline": "x = {" + strings.Repeat("a=1,", 200_000) + "}\n", "unknown": unknown.String(),
		"headers": "[" + strings.Repeat("a.", 400_000) + "b]\n"} {
		_, problems := Decode("config.toml", []byte(text), defaults(), options())
		if len(problems) == 0 || len(problems) > maxProblems+1 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
		if len(problems.String()) > 100_000 {
			t.Errorf("%s: the report has %d bytes", name, len(problems.String()))
		}
	}
	_, problems := Decode("config.toml", []byte(b.String()), defaults(), options())
	if last := problems[len(problems)-1]; !strings.HasSuffix(last.Text, "more problems") {
		t.Errorf("the last one is %v", last)
	}
}

// TestSecretNames: a secret whose name does not look like one is hidden too,
// where its line cannot even be parsed.
func TestSecretNames(t *testing.T) {
	for _, text := range []string{"pepper = \"hunter2\n", "pepper = hunter2\n", "pepper = \"hunter1\"\npepper = \"hunter2\"\n", "peper = \"hunter2\"\n", "pepper = \"hunter2\" x = 5\n"} {
		into := &struct {
			Pepper string `toml:"pepper" secret:"true"`
		}{}
		_, problems := Decode("c", []byte(text), into, Options{})
		if len(problems) == 0 || strings.Contains(problems.String(), "hunter") || strings.Contains(string(problems.JSON()), "hunter") {
			t.Errorf("%q: %s", text, problems)
		}
	}
}

// TestPasswordsInAddresses: a password that somebody wrote into a URL, or
// behind a forgotten "=", is in no report.
func TestPasswordsInAddresses(t *testing.T) {
	for _, text := range []string{
		`hostnme = "smtp://u:hunter2@h:25"`, `hostnme = "u:hunter2@h"`, `hostnme = "smtp:u:hunter2@h"`, `hostnme = "smtp://:hunter2@h"`,
		`hostnme = ["a", "smtps://u:hunter2@h"]`, `hostnme = smtp://u:hunter2@h`, `hostnme = "smtp://u:hunter2@h`, `password "hunter2"`, `"password" 'hunter2'`,
	} {
		_, problems := Decode("c", []byte(text+"\n"), defaults(), options())
		if len(problems) == 0 || strings.Contains(problems.String(), "hunter") || strings.Contains(string(problems.JSON()), "hunter") {
			t.Errorf("%q: %s", text, problems)
		}
	}
	_, problems := Decode("c", []byte("hostnme = [\"ana@our.example smtp:[mx.example]:25\"]\n"), defaults(), options())
	if !strings.Contains(problems.String(), "smtp:[mx.example]:25") {
		t.Errorf("what is no secret is hidden: %s", problems)
	}
}

func TestProblemsJSON(t *testing.T) {
	_, problems := Decode("c\x1b.toml", []byte("hostnme = 1\n"), defaults(), options())
	var got []map[string]any
	if err := json.Unmarshal(problems.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0]["file"] != `c\x1b.toml` || got[0]["line"] != 1.0 || got[0]["column"] != 1.0 || got[0]["key"] != "hostnme" ||
		got[0]["text"] != "unknown key" || got[0]["suggestion"] != `did you mean "hostname"?` || got[0]["source"] != "hostnme = 1" {
		t.Fatalf("%v", got)
	}
	if s := string(Problems(nil).JSON()); s != "[]\n" {
		t.Fatalf("%q", s)
	}
	if Problems(nil).Err() != nil || problems.Err() == nil {
		t.Fatal("Err is wrong")
	}
}
