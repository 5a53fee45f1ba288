// Package admin is the local Unix socket that the commands speak to a running
// gateway over.
//
// One request is one line of JSON, and so is its answer:
//
//	{"verb":"reload"}
//	{"ok":true,"data":{…}}
//
// Who may speak is decided by the file system alone: the socket is 0660 in a
// folder of 0750. The kernel names the peer's user (SO_PEERCRED), and each verb
// that changes something is handed to the audit function with that name, also
// when it failed.
//
// The package knows no verb: they are handed in. It does no HTTP and nothing
// over a network.
//
// # Limits
//
// A request has at most 64 KB and 10 seconds to arrive, an answer at most 1 MB
// and 10 seconds to be taken, a verb one minute to run; 16 clients are served
// at once and the next is told so. A verb that panics fails alone.
package admin
