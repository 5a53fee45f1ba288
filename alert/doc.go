// Package alert tells people what is wrong with the gateway, once, and when it
// is over: what the parts of the program raise and resolve becomes notices on
// channels.
//
// A Manager de-duplicates by key: what is raised again while it is open is
// counted and not told. The same key is told again no sooner than hold_off,
// unless its severity rises; what stays open is repeated after remind, and what
// nobody acknowledges becomes critical after escalate_after. An operator's
// acknowledgement ends reminders and escalation, a silence ends all notices of
// a key. More notices than rate an hour are gathered and go out as one digest,
// so a storm is one message. What is open, acknowledged and silenced is kept in
// the store over restarts.
//
// Channels: mail by a submission of its own (go-smtp's client, RFC 5321, never
// through the relay that may be the problem; RFC 3834 headers, null
// reverse-path), webhook (JSON, signed by HMAC-SHA256), exec (a program with its
// arguments, no shell), syslog (RFC 3164 over /dev/log, RFC 5424 over UDP and
// TCP), and notify (shoutrrr's services by URL). The mail log gets every notice
// whatever the channels do.
//
// Raise and Resolve never wait: they change memory under a lock. Each channel
// has a worker with a queue of its own and tries again with growing pauses; one
// that fails is told in the log and by the other channels.
//
// Texts are made of hostile material (addresses, virus names, replies). Raise
// escapes everything that is not printable before anything else sees it, and a
// command's arguments are quoted for a POSIX shell. Secrets (URLs of services,
// passwords, keys) are never part of an error.
//
// It does not find out what is wrong, and does not decide what is worth an
// alert: that is for who calls it. It does not deliver exactly once: a notice
// whose answer was lost is sent again, with the same id.
//
// # Limits
//
// 1,000 alerts are open and 200 resolved ones remembered at once; 500 silences;
// a record is at most 14 KB, so all of it about 20 MB. A channel has 64 notices waiting,
// each for at most an hour; what does not fit is counted as dropped. A digest
// names 50 alerts. A channel reads 4 KB of an answer. Calls of the library behind
// notify run one at a time for a channel and 16 at once in all; one that does not
// end in time is counted as hung and left behind, and its place stays taken.
package alert
