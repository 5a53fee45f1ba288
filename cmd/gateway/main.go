// Command garita is the gateway: it parses the command line, loads the
// configuration, wires the parts and runs them.
//
// Exit codes are the same for every command (sysexits.h where it has one):
// 0 done, 1 failed, 2 usage, 69 no running gateway answers, 75 a temporary
// fault, 78 a fault in the configuration.
//
// Each command has a file of its own, wiring.go and daemon.go make and run the
// gateway. The package holds no policy: what a message's fate is stands in
// filters and smtpproxy.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

func main() {
	os.Exit(execute(os.Args[1:], terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// commandLine is every command; the tags are what --help shows.
type commandLine struct {
	Run          runCommand          `cmd:"" help:"Run the gateway in the foreground."`
	Init         initCommand         `cmd:"" help:"Write a first configuration."`
	Config       configCommands      `cmd:"" help:"Check, show and explain the configuration."`
	Reload       reloadCommand       `cmd:"" help:"Make the running gateway read its configuration again."`
	Bypass       bypassCommand       `cmd:"" help:"Let checks refuse nothing for a while (observe), and say so loudly."`
	Ban          banCommands         `cmd:"" help:"Show, make and lift bans of clients."`
	User         userCommands        `cmd:"" help:"Suspend users, let them send again, see their sessions and how senders are known."`
	Limits       limitsCommands      `cmd:"" help:"Show what users have used of their limits, and what they really send."`
	Top          topCommand          `cmd:"" help:"Show who sends or gets most: users, senders, recipients or ips."`
	Hold         holdCommands        `cmd:"" help:"Show, release, delete and export held messages."`
	RBL          rblCommands         `cmd:"" name:"rbl" help:"Show how your own addresses stand on DNS lists, and how the lists are."`
	Alert        alertCommands       `cmd:"" help:"Show what is wrong, say that it was seen, test the channels."`
	Check        checkCommands       `cmd:"" help:"Be a plugin of Nagios and Icinga."`
	Greylist     greylistCommands    `cmd:"" help:"Show whom the greylist knows, let somebody pass, forget."`
	Status       statusCommand       `cmd:"" help:"Show what the running gateway does."`
	Health       healthCommand       `cmd:"" help:"Tell by the exit code whether the gateway is ready."`
	Test         testCommand         `cmd:"" help:"Say what would happen to a message; nothing is delivered."`
	Mime         mimeCommand         `cmd:"" help:"Show what is inside a message, in every reading that a mail client may have of it."`
	Route        routeCommand        `cmd:"" help:"Say where mail for an address goes, and which line says so."`
	Rules        rulesCommands       `cmd:"" help:"Show, try and switch rules."`
	Import       importCommands      `cmd:"" help:"Turn tables and settings of Postfix and MailScanner into rules and configuration."`
	Session      sessionCommand      `cmd:"" help:"Play a client by hand: real answers, nothing delivered."`
	Demo         demoCommand         `cmd:"" help:"Show on this machine, offline, what the gateway does with good and bad mail."`
	UserPassword userPasswordCommand `cmd:"" help:"Make a line of the users file from a name and a password."`
	Version      versionCommand      `cmd:"" help:"Show the version."`
	Completion   completionCommand   `cmd:"" help:"Write what a shell needs to complete this command line."`
	Man          manCommand          `cmd:"" hidden:"" help:"Write the manual pages."`
}

const firstWords = `garita stands in front of a mail server and decides what passes.

To begin:
  garita init
  garita config check
  garita run

garita --help shows every command, garita COMMAND --help its options.
`

// execute runs one command line and gives the exit code.
func execute(args []string, t terminal) (code int) {
	if len(args) == 0 {
		io.WriteString(t.err, firstWords)
		return exitUsage
	}
	args = usual(args)
	// kong ends --help by calling its exit function and expects no return.
	type helped struct{ code int }
	defer func() {
		if p := recover(); p != nil {
			h, ok := p.(helped)
			if !ok {
				panic(p)
			}
			code = h.code
		}
	}()
	var line commandLine
	parser, err := kong.New(&line,
		kong.Name("garita"),
		kong.Description("SMTP security gateway."),
		kong.Writers(t.out, t.err),
		kong.Exit(func(code int) { panic(helped{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		spans(),
		kong.Vars{"config": defaultConfig},
	)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	context, err := parser.Parse(args)
	if err != nil && args[0] == "check" {
		return t.report(unknown("CHECK", printable(err.Error()))(&t))
	}
	if err != nil {
		fmt.Fprintf(t.err, "garita: %s\nTry: %s --help\n", printable(err.Error()), commandOf(err))
		return exitUsage
	}
	return t.report(context.Run(&t))
}

// usual takes what other programs take too: help COMMAND, --version.
func usual(args []string) []string {
	switch args[0] {
	case "help":
		return append(append([]string{}, args[1:]...), "--help")
	case "--version":
		return []string{"version"}
	}
	return args
}

// commandOf is the command whose help would have told.
func commandOf(err error) string {
	var p *kong.ParseError
	name := "garita"
	if errors.As(err, &p) {
		for _, step := range p.Context.Path {
			if step.Command != nil {
				name += " " + step.Command.Name
			}
		}
	}
	return name
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 69
	exitTemporary   = 75
	exitConfig      = 78
)

// An exitError ends the command with a code. Its text, when it has one, goes to
// the standard error as it is: it was made safe to print.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

func fail(code int, format string, args ...any) error {
	return &exitError{code, printable(fmt.Sprintf(format, args...))}
}

// report prints an error and gives its exit code.
func (t *terminal) report(err error) int {
	if err == nil {
		return exitOK
	}
	var e *exitError
	if errors.As(err, &e) {
		if e.text != "" {
			fmt.Fprintln(t.err, "garita: "+e.text)
		}
		return e.code
	}
	fmt.Fprintln(t.err, "garita: "+printable(err.Error()))
	return exitFailed
}
