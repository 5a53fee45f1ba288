package document

import (
	"bytes"
	"strings"

	"garita/filetype"
)

// tableKind tells the texts that a spreadsheet program opens as cells or as a
// question for data.
func tableKind(t filetype.Type) bool {
	switch t.Name {
	case "csv", "tsv", "tab", "dif", "slk", "iqy", "oqy", "rqy", "dqy":
		return true
	}
	return false
}

// table inspects cells in a text: formulas that start programs (DDE), the
// macros of SYLK, and queries, whose answer is read as cells again.
func (in *inspector) table(t filetype.Type, where string, b []byte) {
	switch t.Name {
	case "iqy", "oqy", "rqy", "dqy":
		i := bytes.Index(bytes.ToLower(b[:min(len(b), 4096)]), []byte("http"))
		line, _, _ := bytes.Cut(b[max(i, 0):], []byte("\n"))
		in.add(DDE, where, "query "+strings.TrimSpace(string(line[:min(len(line), maxText)])))
		return
	}
	// Excel goes by the first two letters whatever the name is.
	sylk := bytes.HasPrefix(b, []byte("ID;"))
	for n := 0; len(b) > 0; n++ {
		if n%4096 == 4095 && in.stop(where) {
			return
		}
		line := b
		if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if sylk {
			in.sylk(where, line)
		}
		if f := ddeFormula(line, sylk); f != "" {
			in.add(DDE, where, f)
		}
	}
}

// sylk looks at one record of a SYLK file: names that run by themselves, sheets
// of macros, and their functions that start programs.
func (in *inspector) sylk(where string, line []byte) {
	up := string(bytes.ToUpper(line[:min(len(line), 1024)]))
	switch {
	case strings.HasPrefix(up, "O;") && (strings.HasSuffix(up, ";E") || strings.Contains(up, ";E;")):
		in.add(XLM, where, "sheet of macros")
	case strings.HasPrefix(up, "NN;") && strings.Contains(up, "AUTO_"):
		in.add(XLM, where, clip(string(line)))
	case strings.HasPrefix(up, "C;"):
		for _, f := range []string{"EXEC(", "CALL(", "REGISTER(", "FOPEN(", "FWRITE", "RUN("} {
			if i := strings.Index(up, ";E"); i >= 0 && strings.Contains(up[i:], f) {
				in.add(XLM, where, clip(string(line)))
			}
		}
	}
}

// ddeFormula finds a formula that asks another program: a cell that begins with
// = + - or @ and has program|'topic'!item in it. Bars and exclamation marks
// alone are in ordinary tables.
func ddeFormula(line []byte, sylk bool) string {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '|')
		if i < 0 {
			return ""
		}
		bar := from + i
		from = bar + 1
		if bar == 0 || !wordByte(line[bar-1]) && line[bar-1] != '\'' && line[bar-1] != ' ' {
			continue
		}
		rest := line[bar+1 : min(len(line), bar+1025)]
		if bytes.IndexByte(rest, '!') < 0 {
			continue
		}
		start, sure := cellStart(line[max(0, bar-512):bar], sylk)
		if start < 0 {
			continue
		}
		next := bytes.TrimLeft(rest, " ")
		if bytes.HasPrefix(next, []byte("'")) && bytes.Contains(next, []byte("'!")) || sure {
			at := max(0, bar-512) + start
			return clip(string(line[at:min(len(line), at+maxText)]))
		}
	}
}

// cellStart finds where the cell in front of a bar began as a formula; sure
// tells an equal sign, which no ordinary text begins with.
func cellStart(b []byte, sylk bool) (at int, sure bool) {
	at = -1
	fresh := true
	for i, c := range b {
		switch {
		case c == ',' || c == ';' || c == '\t' || c == '|':
			fresh = true
			if sylk && c == ';' && i+1 < len(b) && b[i+1] == 'E' {
				return i + 1, true
			}
		case c == ' ' || c == '"' || c == '\'' || c == 0xef || c == 0xbb || c == 0xbf:
		case fresh && (c == '=' || c == '+' || c == '-' || c == '@'):
			if at < 0 || c == '=' {
				at, sure = i, sure || c == '='
			}
			fresh = false
		default:
			fresh = false
		}
	}
	return at, sure
}
