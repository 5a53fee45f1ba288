// Package builtin holds the rule sets that we ship, as TOML files in the
// language of package rules, each rule with its reason, its source and its
// tests. It does nothing but give them out.
//
// Names of files, senders and fields that only a virus or a disguise has refuse;
// sentences, subjects and markup, which people quote and newsletters have, score,
// each below the threshold from which a recipient sees something. Every rule has
// both, a refusal and points, so that an override of its mode is enough.
//
// The names of the files are their order: of several rules that refuse, the
// first answers, and that is to be the one that tells most (the virus, then the
// disguise, then the extension).
//
// What a file is by its octets, and what is in archives, is not looked at here:
// filters/attachment does. Package test/seeds holds the sets against the
// patterns of the Postfix guides and against ordinary mail.
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
