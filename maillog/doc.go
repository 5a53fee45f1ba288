// Package maillog writes one record for each mail event, either as lines in
// the wording of Postfix (so that pflogsumm, fail2ban and every script an
// administrator already has keep working) or the same facts as JSON, one
// object a line with the names of the Elastic Common Schema.
//
// Everything that comes from outside (host names, HELO, addresses, replies of
// the next hop, what checks found) is escaped here and nowhere else, and each
// such value is cut at MaxField octets. Two attacks stand behind that: a line
// end in a HELO makes a second, forged line; and a '>' or a '[' at the right
// place makes a log watcher ban, count or run something that the attacker
// chose (CVE-2026-73570 was a log line that reached a shell).
//
// The mail path never waits for a log. A record is formatted by its caller
// into a bounded queue and written by one goroutine; when the queue is full
// (full disk, stuck pipe, slow syslog) records are dropped, counted, and the
// number is told in the log as soon as it can be written again. Records of the
// last few milliseconds are lost when the process is killed: the log is an
// account for people, never the proof that a message was delivered.
//
// Limits: bodies, subjects and passwords are never given to this package. It
// does not rotate files (logrotate does; see Reopen) and does not compress.
package maillog
