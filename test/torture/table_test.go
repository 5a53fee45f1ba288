package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// classes says what each class is.
func classes() map[string]string {
	return map[string]string{
		"E-01": "two boundaries", "E-02": "two types", "E-03": "two encodings, or one spelt oddly", "E-05": "names in several places", "E-06": "comments in parameters", "E-07": "a damaged parameter before the one that counts", "E-09": "damaged field names", "E-10": "fields behind folds, bare CRs and junk lines", "E-12": "misspelt types", "E-14": "an encoding on a multipart or message", "E-15": "MIME-Version", "E-16": "boundaries by RFC 2231", "E-17": "boundaries by RFC 2047", "E-19": "opened comments and quotes by the thousand",
		"E-20": "empty and missing boundaries", "E-21": "quotes and semicolons in boundaries", "E-22": "white space in boundaries, delimiter lines", "E-24": "boundaries inside each other, parts outside", "E-26": "missing ends", "E-27": "pieces of messages, external bodies", "E-29": "messages in messages", "E-30": "all kinds of multipart", "E-31": "single parts, wrong types", "E-34": "behind many parts",
		"E-40": "names by RFC 2231 in all charsets", "E-41": "the same with a language", "E-42": "names in pieces", "E-44": "names by RFC 2047", "E-45": "invisible characters, directions", "E-47": "double and hidden extensions", "E-49": "names without quotes, folded", "E-50": "paths", "E-51": "8-bit and broken names", "E-52": "names from other places", "E-54": "extensions", "E-55": "long, empty and many names", "E-56": "case, width, look-alikes",
		"E-61": "damaged base64", "E-62": "damaged quoted-printable", "E-63": "patterns cut in pieces", "E-64": "uuencode", "E-65": "yEnc", "E-66": "BinHex, AppleSingle, TNEF, gzip64, unknown encodings", "E-70": "deep multiparts", "E-71": "deep messages", "E-72": "very many parts", "E-75": "long and many boundaries", "E-76": "readings that multiply", "E-77": "lines like boundaries, huge headers",
		"Z-01": "several zips in one", "Z-02": "names that differ", "Z-03": "members that are not listed, damaged directories", "Z-05": "methods, sizes and checksums that lie", "Z-06": "passwords", "Z-07": "names twice, folders with contents", "Z-08": "ways up, links, NUL", "Z-09": "names like commands", "Z-10": "archives in archives", "Z-12": "bombs", "Z-14": "tar", "Z-15": "under other names, volumes", "Z-16": "other formats, by their own programs", "Z-17": "behind something else", "Z-19": "corrupt", "Z-22": "many below the bound",
		"H-01": "spellings of a tag", "H-02": "inside comments, frames, links and other elements", "H-05": "under other types", "H-06": "very large pages", "H-07": "scripts that hide what they do", "H-20": "charsets", "H-21": "charsets that contradict", "H-22": "broken and odd characters", "H-24": "pictures, archives and web archives with a page",
	}
}

// document is docs/evasion.md.
func document(counts map[string]*count) string {
	var b strings.Builder
	b.WriteString(`# What evasions are seen

Every way to hide a file in a message that we know is made by the tests in ` + "`test/torture`" + `, in many variants, with a harmless
payload: a program in a zip, the name of a program, a page that builds a file. All checks run with their defaults, without an
antivirus. Messages about structure and names count three times: alone, as a part of another message, and enclosed in one.

- **seen**: a finding names what is hidden, and by default the message is refused or held.
- **held**: the message is held or refused for another reason: it is ambiguous, damaged, or over a bound.
- **marked**: it is delivered with points and a field.
- **excused**: it is delivered without a word, and no mail program shows the payload; the reasons are below.
- **silent**: it is delivered without a word. The test fails if there is one.

This page is written by ` + "`go test ./test/torture -run TestScore -update`" + `, and a test compares it.

| class | what | messages | seen | held | marked | excused | silent |
|---|---|---|---|---|---|---|---|
`)
	total := map[byte]*count{}
	names := classes()
	row := func(id, what string, c *count) {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d |\n", id, what, c.messages, c.by[seen], c.by[held], c.by[marked], c.excused, c.by[silent])
	}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		c := counts[id]
		row(id, names[id], c)
		sum := total[id[0]]
		if sum == nil {
			sum = &count{}
			total[id[0]] = sum
		}
		sum.messages += c.messages
		sum.excused += c.excused
		for v := range c.by {
			sum.by[v] += c.by[v]
		}
	}
	for _, k := range []byte("EZH") {
		if total[k] != nil {
			row("**"+string(k)+"**", map[byte]string{'E': "all of structure and names", 'Z': "all of archives", 'H': "all of pages"}[k], total[k])
		}
	}
	b.WriteString("\n## Excused\n\n| message | why |\n|---|---|\n")
	for _, e := range excuses() {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.ReplaceAll(strings.ToValidUTF8(e[0], "?"), "|", "\\|"), e[1])
	}
	b.WriteString(`
What is marked, not held, are mostly encodings and names that no mail program reads in the dangerous way: the marks are there because some might.

## Other readers

Python's email package, munpack and MIME-tools read the same messages; whatever any of them shows is seen here or the message is held,
but for a few that are reviewed one by one in ` + "`readers_test.go`" + ` and marked here.

## Ordinary mail

More than 600 letters of Python's email package, mutt, s-nail, mpack, swaks, MIME::Lite and MIME-tools, and imitations of what
well-known programs write, in 17 languages and their charsets, with 27 kinds of attachments, get no points at all, but an HTML page as an attachment (1).
`)
	return b.String()
}
