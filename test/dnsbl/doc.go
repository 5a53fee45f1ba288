// Package dnsbl is the tests of DNS lists with real servers: rbldnsd plays
// lists that die as real ones have died, and unbound is the resolver between
// them and us.
package dnsbl
