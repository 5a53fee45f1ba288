// Package docs holds the documentation to its word: every example of a
// configuration is loaded, every command and option is asked for, every
// example that says so is run, log lines are compared with what maillog
// writes, links and names of tests must exist, and a page and its translation
// must have the same structure.
//
// What the fences of a block mean:
//
//	```toml           a complete configuration: config check must be content
//	```toml part      tables that replace those of a small base configuration
//	```toml rule      a rule file: its rules are read and its tests run
//	```toml wrong     a configuration with mistakes: config check must object
//	```sh run         run by sh in a temporary folder, with garita in the PATH
//	```sh             not run; its garita commands and their options must exist
//	```main.cf        parameters that the real Postfix must know; those of
//	```master.cf      postfix.md are also used as they stand
//	```file PATH      a file in /etc/garita that the page's configurations name
//	```alerts         rules for Prometheus; their figures must exist
//	```log            lines that maillog writes for the samples of samples.go
//
// It does not judge prose. A block of another kind is not looked at.
package docs
