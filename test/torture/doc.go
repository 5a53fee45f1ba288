// Package torture keeps the score of what the gateway sees of hidden files:
// messages of every class of evasion that we know (structure and names of
// MIME, archives, HTML and charsets), made here and carrying a harmless
// payload, go through all checks with their defaults and without an antivirus.
// Each is seen (a finding names the payload), held or marked for another
// reason, or silent, which is a failure. The same checks must say nothing of
// ordinary mail of many programs and languages.
//
// What other readers take out of the same messages is compared: nothing that
// any of them shows may pass here without a word. docs/evasion.md has the
// table; go test ./test/torture -update writes it.
//
// # Limits
//
// No message of anybody's collection is here: classes are made again from what
// is known of them. A class that nobody has thought of yet is not counted.
package torture
