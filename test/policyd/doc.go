// Package policyd tests the policy server beside the programs that it stands
// in for and works with: the same ten thousand requests to postgrey 1.37 and to
// ours, Postfix that asks about each recipient while the server is killed, and
// users that Dovecot logs in. It has no code of its own.
package policyd
