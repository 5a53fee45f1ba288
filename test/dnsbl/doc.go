// Package dnsbl is real servers for the tests of DNS lists: rbldnsd plays
// lists that die as real ones have died, and unbound is the resolver between
// them and us. Its own test is that of the built program; the check is tested
// with them in its own folder.
package dnsbl
