package message

// Edit replaces Delete bytes at offset At of the original message by Insert.
// Header changes are a case of it: prepending is {0, 0, field}.
type Edit struct {
	At, Delete int64
	Insert     []byte
}
