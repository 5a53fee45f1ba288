// Package logs holds the tests that give Garita's log to the programs that
// administrators read mail logs with: the real pflogsumm and the real
// fail2ban-regex, with the filter that we ship and with fail2ban's own.
//
// The tests need the Debian packages pflogsumm and fail2ban and fail without
// them: a log that only our own tests can read proves nothing.
package logs
