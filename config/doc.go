// Package config reads TOML configuration (TOML 1.0) into structs that other
// packages own, and writes it back out with its documentation.
//
// A prototype, a struct filled with defaults, is the whole description: its
// tags give the keys, the comments of config.toml, the units, the text of
// `garita config explain` and the JSON Schema. Tags:
//
//	toml:"key"         the key; fields without it are not configuration
//	doc:"…"            the comment, one or more sentences
//	unit:"bytes"       on integers: written as "25MB"; K, M, G and T count in
//	                   1024s with or without the i, as mail servers do
//	enum:"a,b,c"       the only texts allowed
//	required:"true"    must be given and not be empty
//	secret:"true"      never shown; KEY_file = "path" reads it from a file
//	multiline:"true"   the text may hold line feeds and tabs
//	min:"1" max:"9"    bounds of numbers, sizes and durations
//	brief:"true"       in a template: a key stands below the one before without
//	                   a comment, the keys of a table without theirs, because
//	                   those above explain them
//	example:"inbound"  name that a template uses for an entry of a map
//
// Every mistake of every file is reported at once, each with file, line,
// column and a suggestion; texts from the files are escaped wherever they are
// shown, and lines that hold a secret are cut. A value that cannot be set
// leaves the default in place, so the caller must not use the struct when
// there are problems.
//
// It knows nothing of the meaning of keys: the caller checks that and adds its
// findings with Document.Add, which finds their positions. It does not watch
// files and changes none.
//
// A prototype that uses a type which cannot be configured is a mistake of the
// program, not of the operator, and panics.
//
// # Limits
//
// A file of more than 1 MB, more than 256 files in conf.d, a key of more than
// 20 parts and a secret of more than 64 KB are refused; 100 problems are
// reported. Dates are read only by types that parse text themselves.
package config

const (
	maxFile     = 1 << 20  // bytes of one file
	maxDropIns  = 256      // files in conf.d
	maxSecret   = 64 << 10 // bytes of a secret's file
	maxProblems = 100      // reported; the rest is counted
	maxKeyParts = 20       // a.b.c has three
	maxSchema   = 12       // nested tables of a prototype
)
