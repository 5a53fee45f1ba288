package parity

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"garita/rules/pattern"
	"garita/rules/postfix"
)

// seed is the first of the seeds; a failure names the one that it came from.
const seed = 20261122

// pairs is how many look-ups are compared: PARITY_PAIRS, or what CI has time
// for.
func pairs(t *testing.T, usual int) int {
	t.Helper()
	s := os.Getenv("PARITY_PAIRS")
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// config is a folder with as much of a configuration as postmap needs.
func config(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"dynamicmaps.cf", "dynamicmaps.cf.d"} {
		from := filepath.Join("/etc/postfix", name)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatal("the package postfix-pcre is missing: ", err)
		}
		if info.IsDir() {
			err = os.CopyFS(filepath.Join(dir, name), os.DirFS(from))
		} else {
			var text []byte
			if text, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\nsmtputf8_enable = no\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// postmap asks Postfix: its answers, and the lines of the table that it
// warned of. limited is set if PCRE gave up on a look-up.
func postmap(t *testing.T, dir, flags, table string, kind postfix.Kind, in []byte) (out string, warned []int, limited bool) {
	t.Helper()
	file := filepath.Join(dir, "table")
	if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("postmap", "-c", dir, flags, "-", kind.String()+":"+file)
	cmd.Stdin = bytes.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && (!asExit(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("postmap: %v: %s", err, &stderr)
	}
	if strings.Contains(stderr.String(), "fatal:") {
		t.Fatalf("postmap: %s\n%s", &stderr, table)
	}
	limited = strings.Contains(stderr.String(), "limit exceeded") || strings.Contains(stderr.String(), "recursion limit")
	for _, m := range warning.FindAllStringSubmatch(stderr.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		warned = append(warned, n)
	}
	slices.Sort(warned)
	return stdout.String(), slices.Compact(warned), limited
}

var warning = regexp.MustCompile(`(?m)^postmap: warning: (?:pcre|regexp) map [^,]*, line (\d+): `)

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}

// ours answers the same.
func ours(t *testing.T, tb *postfix.Table, in []byte) string {
	t.Helper()
	var out bytes.Buffer
	_, err := postfix.Query(tb, bytes.NewReader(in), &out, func() *pattern.Budget {
		return pattern.NewBudget(10*time.Second, time.Now)
	}, nil)
	if err != nil {
		out.WriteString("ERROR " + err.Error() + "\n")
	}
	return out.String()
}

// warnedOf is the lines of our problems, and whether one of them is a
// deviation of ours.
func warnedOf(problems []postfix.Problem) (lines []int, unsupported bool) {
	for _, p := range problems {
		if !strings.Contains(p.Text, "must not start with a blank") {
			lines = append(lines, p.Line)
		}
		unsupported = unsupported || p.Unsupported
	}
	slices.Sort(lines)
	return slices.Compact(lines), unsupported
}

// TestPostmap compares look-ups of generated tables: every second table has
// one rule, so that each pattern is asked; the others are whole tables.
func TestPostmap(t *testing.T) {
	for _, kind := range []postfix.Kind{postfix.PCRE, postfix.Regexp} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			dir := config(t)
			const lines = 60
			want := pairs(t, 24000) / 2
			done, matched, left, bad := 0, 0, 0, 0
			for s := uint64(seed); done < want; s++ {
				g := newGenerator(s)
				n := 1
				if s%2 == 0 {
					n = 2 + g.r.IntN(25)
				}
				table := g.table(kind, n)
				var in bytes.Buffer
				for range lines {
					fmt.Fprintf(&in, "%s\n", g.line())
				}
				theirs, warned, limited := postmap(t, dir, "-q", table, kind, in.Bytes())
				tb, problems := postfix.Parse(table, kind)
				told, unsupported := warnedOf(problems)
				if limited || unsupported {
					left++
					continue
				}
				done += lines
				got := ours(t, tb, in.Bytes())
				matched += strings.Count(theirs, "\n")
				if got != theirs || !slices.Equal(warned, told) {
					if why := known(t.Name(), s); why != "" {
						t.Logf("seed %d is a deviation of docs/postfix-tables.md: %s", s, why)
						continue
					}
					t.Errorf("seed %d:\n%s%s", s, warnings(table, told, warned), diff(tb, table, got, theirs))
					if bad++; bad > 5 {
						t.FailNow()
					}
				}
			}
			t.Logf("%d look-ups, %d answered, %d tables left out", done, matched, left)
			if left*lines > done/20 || matched < done/10 {
				t.Error("the generator makes too little of use")
			}
		})
	}
}

// known is why a generated table is answered differently, and where that is
// written; "" for all but these few. A change of the generator moves them.
func known(test string, seed uint64) string {
	return map[string]map[uint64]string{
		"TestPostmap/regexp": {
			20262212: "a back-reference to a group under a repeat",
			20263186: "$n where a word anchor decides between two ways to match",
			20263891: "$n of an empty turn of a repeat",
			20263912: "$n of an empty turn of a repeat",
		},
		"TestPostmapFolded/regexp": {
			20262401: "^ under a repeat, inside of a match",
		},
	}[test][seed]
}

// warnings names the lines that only one of the two warned of.
func warnings(table string, ours, theirs []int) string {
	lines := strings.Split(table, "\n")
	var out strings.Builder
	for i, line := range lines {
		if a, b := slices.Contains(ours, i+1), slices.Contains(theirs, i+1); a != b {
			fmt.Fprintf(&out, "line %d: ours warned %v, Postfix %v: %q\n", i+1, a, b, line)
		}
	}
	return out.String()
}

// diff tells the first answers that differ, and the rule that ours gave.
func diff(tb *postfix.Table, table, got, want string) string {
	lines := strings.Split(table, "\n")
	theirs := map[string]string{}
	for _, s := range strings.Split(want, "\n") {
		key, result, _ := strings.Cut(s, "\tR")
		theirs[key] = result
	}
	var out strings.Builder
	seen := map[string]bool{}
	for _, s := range strings.Split(got, "\n") {
		key, result, _ := strings.Cut(s, "\tR")
		if seen[key] {
			continue
		}
		seen[key] = true
		if theirs[key] != result && out.Len() < 2000 {
			_, n, _, err := tb.Lookup([]byte(key), nil)
			fmt.Fprintf(&out, "%q: ours %q (line %d %q, %v), Postfix %q\n", key, result, n, lines[max(n, 1)-1], err, theirs[key])
		}
	}
	for key, result := range theirs {
		if !seen[key] && out.Len() < 2000 {
			fmt.Fprintf(&out, "%q: ours nothing, Postfix %q\n", key, result)
		}
	}
	return out.String()
}

// fixedClock stands still: no budget is used up.
func fixedClock() time.Time { return time.Unix(0, 0) }
