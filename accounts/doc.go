// Package accounts knows the users who may log in (SMTP AUTH, RFC 4954): a
// file of names and password hashes, argon2id (RFC 9106, in PHC form) or
// bcrypt. It says yes or no to a name and a password, and slows down those who
// guess.
//
// A name that is not in the file costs exactly one hashing, as a wrong
// password does, and gets the same answer; how long it takes is that of some
// user of the file, always the same one for the same name (attacks S-157).
// Names and passwords are prepared as RFC 8265 says: names are compared
// without regard to case and in one Unicode form (UsernameCaseMapped),
// passwords exactly, but for their Unicode form (OpaqueString).
//
// Guessing (attacks S-156): failures are counted for the pair of client and
// user, for the client, and for the user. Pair and client wait longer and
// longer, then are told to come back; the user alone never makes anybody be
// refused, only wait a little, so that nobody can lock another out. A pair
// that has logged in lately waits for its own failures alone, and has a place
// at the hashing that strangers cannot take.
//
// It does no SASL and no SMTP, and sends nothing. It fails towards "try again
// later": an error of Verify means that nothing could be told. A file that
// cannot be used leaves the one before in place.
//
// Limits: names of 256 octets, passwords of 1024 octets (72 for bcrypt, which
// looks at no more), files of 16 MB and 100,000 users; the memory of a hashing
// and their number at once are configured; what is remembered of failures is
// at most some 130,000 entries of about 100 octets.
package accounts
