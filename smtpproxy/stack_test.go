//go:build !race

package smtpproxy

// smallStack is what the stack of an idle session may take, and a little for
// the goroutines of the runtime.
const smallStack = 4<<10 + 512
