//go:build race

package smtpproxy

// smallStack is twice as much with the race detector, whose frames are larger.
const smallStack = 8<<10 + 512
