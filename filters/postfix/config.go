package postfix

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"garita/filters"
	"garita/mail"
	tables "garita/rules/postfix"
)

// Config is the table [check.postfix].
type Config struct {
	Mode                       string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe (tell what the tables would have done), score (the same: these tables know no points) or enforce. Without tables the check does nothing."`
	HeaderChecks               []string      `toml:"header_checks" doc:"Tables of Postfix for header fields: \"pcre:/etc/postfix/header_checks\", \"regexp:/...\". They are asked in their order, the first result counts, and they mean what they mean to Postfix (docs/postfix-tables.md)."`
	MIMEHeaderChecks           []string      `toml:"mime_header_checks" doc:"Tables for the MIME header fields, of the message and of its parts. \"$header_checks\" stands for those of header_checks, as in Postfix's own default; [] is none."`
	NestedHeaderChecks         []string      `toml:"nested_header_checks" doc:"Tables for the header fields of attached messages, likewise."`
	BodyChecks                 []string      `toml:"body_checks" doc:"Tables for the lines of the body, as they stand in the message."`
	DisableMIMEInputProcessing bool          `toml:"disable_mime_input_processing" doc:"Everything behind the message's own header is body, as Postfix's parameter of that name."`
	WholeBody                  bool          `toml:"whole_body" doc:"body_checks look at all of the body. Postfix's own default stops after 51200 octets of each part (body_checks_size_limit), where everybody can hide behind a picture."`
	KeepStrayCR                bool          `toml:"keep_stray_cr" doc:"A CR inside of a line stays one, as before Postfix 3.9 (cleanup_mask_stray_cr_lf = no); else patterns see a blank."`
	MessageTime                time.Duration `toml:"message_time" doc:"What patterns that go back and forth in the text may take for one message; beyond its first 4 MB other patterns count half their time, too."`
	OverBudget                 string        `toml:"over_budget" enum:"defer-then-quarantine,defer,quarantine,continue" doc:"What is done about a message whose tables could not be asked to their end in that time: put it off once and hold it the second time, always put it off, hold it, or let it pass with what is known. Postfix takes the rule for one that does not fit."`
}

// sameAsHeader is how Postfix writes that default in main.cf.
const sameAsHeader = "$header_checks"

// Default names no tables.
func Default() Config {
	return Config{
		Mode: mail.Enforce.String(), HeaderChecks: []string{}, MIMEHeaderChecks: []string{sameAsHeader}, NestedHeaderChecks: []string{sameAsHeader},
		BodyChecks: []string{}, MessageTime: 5 * time.Second, OverBudget: filters.DeferThenQuarantine,
	}
}

const (
	// maxTold bounds the mistakes and the warnings that are told of tables.
	maxTold = 50
	// maxTables bounds the tables of one key.
	maxTables = 100
)

// Tables are the tables of a Config that were read. They never change.
type Tables struct {
	tables tables.Tables
	// names are those of the files, by view and number.
	names [4][]string
}

// any tells that there is a table at all.
func (t *Tables) any() bool {
	return len(t.tables.Header)+len(t.tables.MIMEHeader)+len(t.tables.Nested)+len(t.tables.Body) > 0
}

// Files are the files that the tables are read from.
func (c Config) Files() []string {
	var out []string
	for _, name := range slices.Concat(c.HeaderChecks, c.MIMEHeaderChecks, c.NestedHeaderChecks, c.BodyChecks) {
		if _, file, ok := cut(name); ok {
			out = append(out, file)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cut takes pcre:/path apart.
func cut(name string) (kind tables.Kind, file string, ok bool) {
	word, file, _ := strings.Cut(name, ":")
	switch word {
	case tables.PCRE.String():
		kind = tables.PCRE
	case tables.Regexp.String():
		kind = tables.Regexp
	default:
		return 0, "", false
	}
	return kind, file, filepath.IsAbs(file)
}

// Validate gives every mistake, each naming its key. It reads the tables.
func (c Config) Validate() []error {
	_, errs, _ := c.Read(nil)
	return errs
}

// settings gives the mistakes that are in no table.
func (c Config) settings() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	if c.MessageTime < 10*time.Millisecond || c.MessageTime > 10*time.Minute {
		errs = append(errs, fmt.Errorf("message_time = %v: must be from 10ms to 10m", c.MessageTime))
	}
	if _, err := filters.NewDoubt(c.OverBudget); err != nil {
		errs = append(errs, fmt.Errorf("over_budget = %w", err))
	}
	return errs
}

// reader reads the tables of a Config.
type reader struct {
	hops           []string
	read           map[string]*tables.Table
	told           map[string]bool
	errs, warnings []error
	more           int
}

// Read reads the tables: what is wrong with them, and what Postfix would only
// warn of. hops are the names of next hops, for FILTER; nil: not known.
func (c Config) Read(hops []string) (t *Tables, errs, warnings []error) {
	r := &reader{hops: hops, read: map[string]*tables.Table{}, told: map[string]bool{}, errs: c.settings()}
	t = &Tables{}
	list := func(v tables.View, key string, names []string) []*tables.Table {
		out := []*tables.Table{} // not nil: that would be those of the header
		if len(names) > maxTables {
			r.errs = append(r.errs, fmt.Errorf("%s: %d tables, %d at most", key, len(names), maxTables))
			names = nil
		}
		for i, name := range names {
			if name == sameAsHeader && v != tables.Header && v != tables.Body {
				out, t.names[v] = append(out, t.tables.Header...), append(t.names[v], t.names[tables.Header]...)
				continue
			}
			if one := r.table(v, fmt.Sprintf("%s[%d]", key, i), name); one != nil {
				_, file, _ := cut(name)
				out, t.names[v] = append(out, one), append(t.names[v], file)
			}
		}
		return out
	}
	t.tables.Header = list(tables.Header, "header_checks", c.HeaderChecks)
	t.tables.MIMEHeader = list(tables.MIMEHeader, "mime_header_checks", c.MIMEHeaderChecks)
	t.tables.Nested = list(tables.NestedHeader, "nested_header_checks", c.NestedHeaderChecks)
	t.tables.Body = list(tables.Body, "body_checks", c.BodyChecks)
	if r.more > 0 {
		r.warnings = append(r.warnings, fmt.Errorf("mode: %d findings more in the tables", r.more))
	}
	if len(r.errs) > 0 {
		return nil, r.errs, r.warnings
	}
	return t, nil, r.warnings
}

func (r *reader) fail(key, format string, args ...any) {
	r.tell(&r.errs, key, format, args)
}

func (r *reader) warn(key, format string, args ...any) {
	r.tell(&r.warnings, key, format, args)
}

// tell notes what is wrong with a table, once: one may be named four times.
func (r *reader) tell(list *[]error, key, format string, args []any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case r.told[text]:
		return
	case len(*list) >= maxTold:
		r.more++
		return
	}
	r.told[text] = true
	*list = append(*list, errors.New(key+": "+text))
}

// table reads one table, or gives the one that was read before.
func (r *reader) table(v tables.View, key, name string) *tables.Table {
	kind, file, ok := cut(name)
	if !ok {
		try := "write \"pcre:/path\" or \"regexp:/path\""
		if strings.Contains(name, "{") {
			try = "write the rules of an inline table into a file"
		}
		r.fail(key, "%q is no table that is known here: %s", name, try)
		return nil
	}
	t := r.read[name]
	if t == nil {
		text, err := readFile(file)
		if err != nil {
			r.fail(key, "%s", err)
			return nil
		}
		var problems []tables.Problem
		t, problems = tables.Parse(text, kind)
		r.read[name] = t
		for _, p := range problems {
			switch at := fmt.Sprintf("%s:%d", file, p.Line); {
			case p.Unsupported:
				r.fail(key, "%s: %s, which Postfix would know: see docs/postfix-tables.md", at, filters.Printable(p.Text, maxText))
			case p.Skipped:
				r.warn(key, "%s: the rule is not used, as in Postfix: %s", at, filters.Printable(p.Text, maxText))
			default:
				r.warn(key, "%s: %s", at, filters.Printable(p.Text, maxText))
			}
		}
	}
	t.Fixed(func(line int, result string) {
		verdict := tables.Judge(v, result)
		if verdict.Action == tables.Filter {
			if _, known := hopOf(verdict.Text, r.hops); !known && r.hops != nil {
				verdict.Problem = noHop
			}
		}
		if verdict.Problem != "" {
			r.warn(key, "%s:%d: %q: %s", file, line, filters.Printable(result, maxText), verdict.Problem)
		}
	})
	return t
}

// noHop is what is wrong with a FILTER that goes nowhere.
const noHop = "FILTER names none of the tables [next_hop.NAME], so it does nothing here"

// hopOf gives the next hop that transport:destination means here: the one
// with the name of the transport, or else of the destination.
func hopOf(text string, hops []string) (string, bool) {
	transport, destination, _ := strings.Cut(text, ":")
	for _, name := range []string{transport, strings.Trim(destination, "[]")} {
		if name != "" && slices.Contains(hops, name) {
			return name, true
		}
	}
	return "", false
}

// readFile reads a regular file.
func readFile(name string) (string, error) {
	// O_NONBLOCK: opening a pipe without a writer would wait for ever, and the
	// reload with it.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, tables.MaxTable+1))
	return string(text), err
}
