// Package dnsbl is what the gateway knows of DNS lists (RFC 5782): which there
// are, what their answers mean, and whether they are well.
//
// A list is a stranger's zone that says of addresses or names whether they are
// bad (or, in an allow list, good). Lists die, and the dead have refused the
// world's mail: by listing everything (ORDB 2008), by the answers of a parking
// page (SpamCop 2021), by silence that holds every mail up (DSBL), by an answer
// that means "you may not ask" and was read as "listed". So nothing counts by
// itself:
//
//   - an answer outside of 127.0.0.0/8, in 127.255.255.0/24, or one that the
//     list calls an error is no listing, and beside such an answer no other of
//     the same reply is one (attacks D-01, D-03, D-05);
//   - a listing counts only after the same zone has denied, later than it gave
//     that answer, a name that nobody can have listed;
//   - each list is probed as RFC 5782 section 5 says, at the start and every
//     half hour; one that fails is suspended, is not asked, and comes back
//     after it has been well for a while;
//   - a hit rate that jumps without other lists agreeing, and listings of peers
//     that have sent good mail for days, suspend it too;
//   - three questions in a row that were not answered in time suspend it.
//
// Own (garita rbl) asks of our own addresses what others are told of us.
//
// It decides nothing about mail. It fails towards saying nothing: a list that
// is unsure is not counted.
//
// # Limits
//
// At most MaxLists lists. Of an answer with more than 16 records nothing is
// believed. Of each list 8,192 confirmed names are remembered for an hour and
// 8,192 doubted ones for a day. What another DNS server has cached may hide for
// as long that a list has gone empty; that it lists everything is asked with
// names that no cache has.
package dnsbl

// MaxLists bounds the lists of a monitor, and so what one mail may ask.
const MaxLists = 32
