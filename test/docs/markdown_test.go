package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../.."

// A page is one Markdown file, taken apart as far as the tests care.
type page struct {
	name   string // relative to the repository
	blocks []block
	prose  []string // lines outside of blocks
}

// A block is what stands between two fences.
type block struct {
	info string
	line int
	text string
}

// documents are the pages that this package answers for.
func documents(t *testing.T) []page {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"README.md", "README.es.md", "CHANGELOG.md"} {
		files = append(files, filepath.Join(top, f))
	}
	if len(files) < 10 {
		t.Fatalf("found only %d pages", len(files))
	}
	var out []page
	for _, f := range files {
		name, err := filepath.Rel(top, f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, read(t, name))
	}
	return out
}

func read(t *testing.T, name string) page {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, name, string(data))
}

func parse(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name}
	var open *block
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{info: info, line: n}
		case fence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			p.prose = append(p.prose, line)
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", name, open.line)
	}
	return p
}

// files are the files that the page shows, for its examples to read.
func (p page) files() []block {
	var out []block
	for _, b := range p.blocks {
		if strings.HasPrefix(b.info, "file ") {
			out = append(out, b)
		}
	}
	return out
}

// headings gives the headings with their marks.
func (p page) headings() []string {
	var out []string
	for _, l := range p.prose {
		if strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

// anchor is the name that a heading has on GitHub.
func anchor(heading string) string {
	h := strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	return strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(h, ""), " ", "-")
}

// TestLinks follows every link to a file of the repository and its headings.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for _, p := range documents(t) {
		for _, l := range p.prose {
			for _, m := range link.FindAllStringSubmatch(l, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				n++
				file, frag, _ := strings.Cut(m[1], "#")
				to := p.name
				if file != "" {
					to = filepath.Join(filepath.Dir(p.name), file)
				}
				if _, err := os.Stat(filepath.Join(top, to)); err != nil {
					t.Errorf("%s: link to %s: %v", p.name, m[1], err)
					continue
				}
				if frag != "" && !hasAnchor(read(t, to), frag) {
					t.Errorf("%s: %s has no heading %q", p.name, to, frag)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("followed only %d links", n)
	}
}

func hasAnchor(p page, frag string) bool {
	for _, h := range p.headings() {
		if anchor(h) == frag {
			return true
		}
	}
	return false
}

// TestTranslations: a page and its translation have the same headings, tables
// and lists by number and order, and the same blocks letter by letter, but
// for drawings.
func TestTranslations(t *testing.T) {
	for _, pair := range [][2]string{{"README.md", "README.es.md"}, {"docs/zimbra.md", "docs/zimbra.es.md"}} {
		a, b := read(t, pair[0]), read(t, pair[1])
		if x, y := skeleton(a), skeleton(b); x != y {
			t.Errorf("%s and %s differ in structure:\n%s", pair[0], pair[1], firstDifference(x, y))
		}
		for i := range min(len(a.blocks), len(b.blocks)) {
			x, y := a.blocks[i], b.blocks[i]
			if x.info != y.info || x.info != "text" && x.text != y.text {
				t.Errorf("%s:%d and %s:%d are not the same block", a.name, x.line, b.name, y.line)
			}
		}
	}
}

// skeleton is a page without its words: kinds of lines, the first cells of
// tables that are code, and the placeholders.
func skeleton(p page) string {
	var b strings.Builder
	for _, l := range p.prose {
		switch {
		case strings.HasPrefix(l, "#"):
			b.WriteString(l[:strings.IndexByte(l, ' ')] + "\n")
		case strings.HasPrefix(l, "|"):
			b.WriteString(strings.Repeat("|", strings.Count(l, "|")))
			if cell := strings.TrimSpace(strings.Split(l, "|")[1]); strings.HasPrefix(cell, "`garita") {
				b.WriteString(cell)
			}
			b.WriteString("\n")
		case strings.HasPrefix(l, "- "), strings.HasPrefix(l, "1. "), strings.HasPrefix(l, "<!--"):
			b.WriteString(l[:2] + "\n")
		case l == "":
		default:
			b.WriteString("text\n")
		}
	}
	return b.String()
}

func firstDifference(x, y string) string {
	a, b := strings.Split(x, "\n"), strings.Split(y, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "element " + a[i] + " against " + b[i] + " after " + strings.Join(a[max(0, i-3):i], " ")
		}
	}
	return "one is longer"
}

// TestNightPage: the Spanish page for the night has the sections and the
// commands of the English one, whatever its words are.
func TestNightPage(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n## At night\n")
	text, _, _ = strings.Cut(text, "\n## ")
	data, err = os.ReadFile(filepath.Join(top, "docs", "operations.es.md"))
	if err != nil {
		t.Fatal(err)
	}
	night, _, found := strings.Cut(string(data), "\n## Advertencias y qué hacer\n")
	if !found {
		t.Error("operations.es.md has no table of warnings")
	}
	en, es := parse(t, "operations.md, At night", text), parse(t, "operations.es.md", night)
	if x, y := len(en.headings()), len(es.headings())-1; x != y || x < 5 { // its own title
		t.Errorf("%d sections, in Spanish %d", x, y)
	}
	if len(en.blocks) != len(es.blocks) {
		t.Fatalf("%d blocks, in Spanish %d", len(en.blocks), len(es.blocks))
	}
	for i := range en.blocks {
		if en.blocks[i].text != es.blocks[i].text {
			t.Errorf("operations.es.md:%d is not the block of operations.md:\n%s", es.blocks[i].line, en.blocks[i].text)
		}
	}
}

// TestTestsExist: a test that a page names is there.
func TestTestsExist(t *testing.T) {
	have := map[string]bool{}
	def := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range def.FindAllStringSubmatch(string(data), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	use := regexp.MustCompile("`((?:Test|Fuzz)[A-Z0-9]\\w*)`")
	n := 0
	for _, p := range documents(t) {
		for _, l := range p.prose {
			for _, m := range use.FindAllStringSubmatch(l, -1) {
				n++
				if !have[m[1]] {
					t.Errorf("%s names %s, which does not exist", p.name, m[1])
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("found only %d names", n)
	}
}

// TestLogLines: what a page shows as a log line is what maillog writes.
func TestLogLines(t *testing.T) {
	have := map[string]bool{}
	for _, format := range []string{"postfix", "json"} {
		for line := range strings.Lines(write(t, format)) {
			have[line] = true
		}
	}
	n := 0
	for _, p := range documents(t) {
		for _, b := range p.blocks {
			if b.info != "log" {
				continue
			}
			for line := range strings.Lines(b.text) {
				n++
				if !have[line] {
					t.Errorf("%s:%d: maillog does not write\n%s", p.name, b.line, line)
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("compared only %d lines", n)
	}
}

// TestWarnings: the warnings that operations.md explains are the program's,
// and it explains all of those about mail.
func TestWarnings(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"cmd/gateway", "smtpproxy", "smtpproxy/relay", "maillog", "conduct", "store", "tls", "hold", "filters/clamav", "dnsbl", "alert", "policyd", "greylist", "milterd"} {
		files, err := filepath.Glob(filepath.Join(top, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(data)
		}
	}
	told, inSpanish := map[string]bool{}, map[string]bool{}
	for _, l := range read(t, "docs/operations.es.md").prose {
		if text, ok := warningOf(l); ok {
			inSpanish[text] = true
		}
	}
	for _, l := range read(t, "docs/operations.md").prose {
		if text, ok := warningOf(l); ok {
			told[text] = true
			// Some go on with a name.
			if !strings.Contains(source.String(), `"`+text+`"`) && !strings.Contains(source.String(), `"`+text+` "+`) {
				t.Errorf("nothing writes the warning %q", text)
			}
		}
	}
	// The last ones are those of clamav, conduct and store.
	call := regexp.MustCompile(`\.(?:log\((?:fmt\.Sprintf\()?|tell\((?:"\w+"|"[^"]*"\+[^,]*), |ClientWarn\(&s\.s, |Warn\("\w+", |alarm\(|warn\("\w+", |log\.warn\([^"\n]*, |config\.Log\()"((?:[^"\\]|\\.)+)"`)
	for _, m := range call.FindAllStringSubmatch(source.String(), -1) {
		if !told[strings.TrimSpace(m[1])] && !internal(m[1]) {
			t.Errorf("operations.md does not explain the warning %q", m[1])
		}
	}
	if len(told) < 50 {
		t.Errorf("found only %d warnings", len(told))
	}
	for text := range told {
		if !inSpanish[text] {
			t.Errorf("operations.es.md does not explain the warning %q", text)
		}
	}
	for text := range inSpanish {
		if !told[text] {
			t.Errorf("operations.es.md explains %q, which operations.md does not have", text)
		}
	}
}

// warningOf gives the text of a row of the table of warnings.
func warningOf(line string) (string, bool) {
	cells := strings.Split(line, " | ")
	if len(cells) != 3 || !strings.HasPrefix(line, "| `") {
		return "", false
	}
	return strings.Trim(cells[0], "|` "), true
}

// internal are warnings that explain themselves: faults of the machine with
// the system's own words behind them.
func internal(text string) bool {
	switch text {
	case "message could not be read back", "message could not be rendered", "message could not be held",
		"message far over the limit; connection closed", "command line too long; connection closed",
		"command line ended by a bare line feed; connection closed",
		"state is on the disk again",         // an end, told below the table
		"clamav: ", "clamav: %s works again", // a name follows, told there
		"clamav: messages are scanned again, after %s", // an end, too
		"SASL ": // Postfix's words, told there too
		return true
	}
	return false
}

// TestImportTable: the table of architecture.md has every package of the
// program, and none imports what it does not say.
func TestImportTable(t *testing.T) {
	text := strings.Join(read(t, "docs/architecture.md").prose, "\n")
	_, text, _ = strings.Cut(text, "| package | may import of ours |")
	text, _, _ = strings.Cut(text, "\n\n")
	code := regexp.MustCompile("`([a-z/]+)`")
	may := map[string]string{}
	for line := range strings.Lines(text) {
		if names := code.FindAllStringSubmatch(line, -1); len(names) > 0 {
			may[names[0][1]] = line
		}
	}
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[0], "garita/")
		if strings.HasPrefix(name, "test/") || strings.HasPrefix(name, "bench") || strings.HasSuffix(name, "test") || strings.HasSuffix(name, "/fakehop") {
			continue
		}
		row, ok := may[name]
		if !ok {
			t.Errorf("architecture.md does not have %s", name)
			continue
		}
		found++
		for _, w := range words[1:] {
			if dep, ours := strings.CutPrefix(w, "garita/"); ours && !strings.Contains(row, "`"+dep+"`") && !strings.Contains(row, "everything") {
				t.Errorf("architecture.md does not say that %s imports %s", name, dep)
			}
		}
	}
	if found != len(may) {
		t.Errorf("%d packages, %d rows", found, len(may))
	}
}
