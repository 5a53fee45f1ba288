// Package tables reads list files: one entry a line, in the form of Postfix's
// tables (postmap(1)): "key value", "#" begins a comment line, a line that
// begins with white space goes on with the one before.
//
// It knows nothing of what keys and values mean. A line that cannot be is a
// Problem with file and line; all of them are given at once.
package tables

import "fmt"

// Entry is one logical line.
type Entry struct {
	Key, Value string // Value is empty when the line has one word
	File       string
	Line       int // where the logical line begins, from 1
}

// Problem is a line that cannot be used.
type Problem struct {
	File string
	Line int // 0: the file as a whole
	Text string
	Try  string // how to mend it; may be empty
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}
