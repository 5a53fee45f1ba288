package migrate

import (
	"slices"
	"strings"
)

// plan is a configuration that is being put together: tables and their keys, in
// the order in which they came.
type plan struct {
	tables []string
	keys   map[string][]pair
	// try says what our reader has against a configuration; nil: nothing.
	try func(toml string) error
}

type pair struct{ key, value string }

// must adds what is needed at any rate.
func (p *plan) must(table, key, value string) {
	if p.keys == nil {
		p.keys = map[string][]pair{}
	}
	if !slices.Contains(p.tables, table) {
		p.tables = append(p.tables, table)
	}
	p.keys[table] = append(p.keys[table], pair{key, value})
}

// add adds a key unless our reader refuses it.
func (p *plan) add(table, key, value string) error {
	had := slices.Contains(p.tables, table)
	for _, one := range p.keys[table] {
		if one.key == key {
			return errTwice
		}
	}
	p.must(table, key, value)
	if p.try == nil {
		return nil
	}
	err := p.try(p.text())
	if err != nil {
		p.keys[table] = p.keys[table][:len(p.keys[table])-1]
		if !had {
			p.tables = p.tables[:len(p.tables)-1]
		}
	}
	return err
}

type planError string

func (e planError) Error() string { return string(e) }

const errTwice = planError("the key is there already")

func (p *plan) text() string {
	var b strings.Builder
	for _, table := range p.tables {
		if table != "" {
			b.WriteString("\n[" + table + "]\n")
		}
		for _, one := range p.keys[table] {
			b.WriteString(one.key + " = " + one.value + "\n")
		}
	}
	return b.String()
}

func (p *plan) write(s *sheet) { s.toml.WriteString(p.text()) }
