// Package packaging holds the tests of what installs the gateway: the systemd
// units, the Debian package, manual pages, completions, rotation, and the
// sample for containers. It has no code of its own.
package packaging
