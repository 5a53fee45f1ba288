// Package keys holds the promise that every key of the configuration does
// something: keys.tsv names for each key one test that sets it to another
// value and sees the difference. A key without a line, a line without a key
// and a test that does not exist fail.
//
// Where no other package shows a key's effect, the tables here do: a row is a
// key, a value and what then appears or is gone, and the key reaches the code
// by TOML, as an operator's does. Rows that need the whole program share a few
// gateways on loopback.
//
// # Limits
//
// Whether a named test of another package really looks at the key is for its
// reader to see. Tables ([limits]) are no keys of their own here; their keys
// are.
package keys
