// Package builtin holds the rule sets that we ship, as TOML files in the
// language of package rules, each rule with its reason, its source and its
// tests. It does nothing but give them out.
package builtin

import (
	"embed"
	"io/fs"
	"path"
	"strings"

	"garita/rules"
)

//go:embed *.toml
var files embed.FS

// Sets are the names of the sets, in the order in which they are looked at.
func Sets() []string {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err) // an embedded folder is there
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(path.Base(e.Name()), ".toml"))
	}
	return names
}

// Source is a set's file.
func Source(set string) (rules.Source, bool) {
	text, err := files.ReadFile(set + ".toml")
	return rules.Source{Name: "builtin:" + set, Text: text}, err == nil
}
