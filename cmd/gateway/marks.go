package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"

	"garita/config"
)

// A mark is what is remembered of a file with entries: what is in it does not
// show in the configuration, and a failed export must not pass unseen.
type mark struct {
	entries int // noEntries: people write it, and no export
	sum     [sha256.Size]byte
}

const noEntries = -1

// listFiles are the files with entries that a configuration names.
func listFiles(s *Settings) []string {
	a, r := &s.Check.Access, &s.Route
	files := slices.Concat(a.ClientFiles, a.NameFiles, a.HeloFiles, a.SenderFiles, a.RecipientFiles,
		r.RecipientFiles, r.SenderFiles, r.AliasFiles, r.RecipientListFiles)
	if s.Users.File != "" {
		files = append(files, s.Users.File)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// written are the files that people write: rules and tables of Postfix. The
// lists of rules are known when the rules were read.
func written(s *Settings) []string {
	files := slices.Concat(s.Check.Rules.Paths(), s.Check.Postfix.Files(), s.read.checks.RuleFiles())
	slices.Sort(files)
	return slices.Compact(files)
}

// marksOf reads the files once more, for their marks alone. One that cannot be
// read is left out: reading it for use has said so.
func marksOf(s *Settings) map[string]mark {
	out := map[string]mark{}
	for _, name := range listFiles(s) {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		out[name] = mark{entriesIn(raw), sha256.Sum256(raw)}
	}
	for _, name := range written(s) {
		if raw, err := os.ReadFile(name); err == nil {
			out[name] = mark{noEntries, sha256.Sum256(raw)}
		}
	}
	return out
}

// entriesIn counts logical lines: neither empty, nor a comment, nor one that
// goes on with the line before it.
func entriesIn(raw []byte) (n int) {
	for line := range bytes.Lines(raw) {
		switch line[0] {
		case '#', ' ', '\t', '\r', '\n':
		default:
			n++
		}
	}
	return n
}

// changedFiles tells which of them have other entries now.
func changedFiles(old, now map[string]mark) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		was, had := old[name]
		switch is := now[name]; {
		case !had && is.entries == noEntries:
			out = append(out, name+": added")
		case !had || was.sum == is.sum:
		case is.entries == noEntries:
			out = append(out, name+": changed")
		case was.entries == is.entries:
			out = append(out, fmt.Sprintf("%s: other entries (%d)", name, is.entries))
		default:
			out = append(out, fmt.Sprintf("%s: %d -> %d entries", name, was.entries, is.entries))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, has := now[name]; !has && old[name].entries == noEntries {
			out = append(out, name+": removed")
		}
	}
	return out
}

// A list that has lost more than this part of its entries, and had at least
// fewEntries, is told as a warning.
const (
	lostPart   = 2
	fewEntries = 10
)

// shrunkFiles warns of lists that look like a failed export.
func shrunkFiles(old, now map[string]mark) (out config.Problems) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		was, is := old[name].entries, now[name].entries
		if is == 0 && was > 0 || was >= fewEntries && is < was/lostPart {
			out = append(out, config.Problem{File: name, Text: fmt.Sprintf("warning: this list had %d entries and has %d now", was, is),
				Suggestion: "look whether its export failed"})
		}
	}
	return out
}
