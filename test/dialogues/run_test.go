package dialogues

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write differences.md anew")

// verify compares Garita's answers with the file.
func verify(t *testing.T, d dialogue, rows [][]string) {
	t.Helper()
	quit := false
	for i, st := range d.steps {
		for j, want := range st.want {
			if got := rows[i][j]; !matches(want, got) {
				t.Errorf("step %d %q: want %s, got %s", i+1, st.send, want, got)
			}
			quit = want == "221" || want == "closed"
		}
	}
	if rest := rows[len(d.steps)]; quit && len(rest) > 0 {
		t.Errorf("answers after the end: %v", rest)
	}
}

func TestWellFormedDialoguesAgree(t *testing.T) {
	all := servers(t)
	for _, d := range load(t, "agree") {
		t.Run(d.name, func(t *testing.T) {
			ours := play(t, all[0], d)
			verify(t, d, ours)
			for _, s := range all[1:] {
				theirs := play(t, s, d)
				for i := range d.steps {
					if classes(ours[i]) != classes(theirs[i]) {
						t.Errorf("step %d %q: Garita says %v, %s says %v", i+1, d.steps[i].send, ours[i], s.name, theirs[i])
					}
				}
			}
		})
	}
}

func classes(codes []string) string {
	var b strings.Builder
	for _, c := range codes {
		b.WriteString(c[:1])
	}
	return b.String()
}

const preface = `# Where the three differ

Malformed and contested dialogues against Garita, go-smtp and Postfix (Debian's, with its defaults). Each cell has the
answers in order, without the greeting and the closing QUIT; "silent" means that the server was still waiting, "closed"
that it had ended the connection, and more answers in brackets that there were more than the client had asked
questions: words of the message that were read as commands. This file is written by ` + "`go test ./test/dialogues -update`" + `
and compared by the test; a change is to be read before it is committed.

| dialogue | Garita | go-smtp | Postfix | why |
|---|---|---|---|---|
`

func TestDifferencesAreReviewed(t *testing.T) {
	all := servers(t)
	var b strings.Builder
	b.WriteString(preface)
	list := load(t, "differ")
	answers := playAll(t, all, list)
	for i, d := range list {
		t.Run(d.name, func(t *testing.T) { verify(t, d, answers[i][0]) })
		cells := []string{"`" + d.name + "` " + cell(d.title)}
		for _, rows := range answers[i] {
			cells = append(cells, summary(rows))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(cells, " | "), cell(d.note))
	}
	const file = "differences.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(old), "\n"), strings.Split(b.String(), "\n")
	for _, l := range was {
		if !slices.Contains(is, l) {
			t.Errorf("was: %s", l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			t.Errorf("is:  %s", l)
		}
	}
}

// playAll plays every dialogue to every server, several at once: some
// servers are silent, and each silence is waited for. The answers are by
// dialogue and server.
func playAll(t *testing.T, all []server, list []dialogue) [][][][]string {
	answers := make([][][][]string, len(list))
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, d := range list {
		answers[i] = make([][][]string, len(all))
		for j, s := range all {
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer wg.Done()
				answers[i][j] = play(t, s, d)
				<-slots
			}()
		}
	}
	wg.Wait()
	return answers
}

// summary is the answers of one server as a cell of the table.
func summary(rows [][]string) string {
	var codes []string
	for _, r := range rows[1 : len(rows)-1] {
		codes = append(codes, r...)
	}
	if n := len(codes); n > 0 && codes[n-1] == "221" {
		codes = codes[:n-1]
	}
	for len(codes) > 1 && codes[len(codes)-1] == "closed" && codes[len(codes)-2] == "closed" {
		codes = codes[:len(codes)-1]
	}
	text := strings.Join(codes, " ")
	rest := rows[len(rows)-1]
	if n := len(rest); n > 0 && rest[n-1] == "221" {
		rest = rest[:n-1]
	}
	// The empty line that brings out the rest is a command too.
	if n := len(rest); n > 0 && rest[n-1][0] == '5' {
		rest = rest[:n-1]
	}
	if len(rest) > 0 {
		text += fmt.Sprintf(" (%d more: %s)", len(rest), strings.Join(rest, " "))
	}
	return text
}

// cell makes a text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", "&#124;", "<", "&lt;", ">", "&gt;").Replace(s)
}
