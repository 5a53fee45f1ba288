package routing

import (
	"fmt"
	"strings"
)

// Config is the [route] table. A line is "key value", as in the files.
type Config struct {
	Recipients         []string `toml:"recipients" doc:"Routes by recipient, as lines: \"our.example mailbox\", \".our.example mailbox\" (sub-domains), \"ana@our.example other\". The second word is the NAME of a [next_hop.NAME], or Postfix's smtp:[host]:port, relay:[host]:port, smtps:[host]:port, lmtp:[host]:port, lmtp:unix:/path, always with brackets. They open no relay: relay_domains decides whose mail is taken."`
	RecipientFiles     []string `toml:"recipient_files" doc:"Files of such lines: Postfix's transport maps (the text, not the .db)."`
	Senders            []string `toml:"senders" doc:"outbound only: routes by sender, as lines: \"our.example smart\", \"ana@our.example other\", \"<> bounces\" (the null reverse-path). A route by recipient and our own domains come first."`
	SenderFiles        []string `toml:"sender_files" doc:"Files of such lines: Postfix's sender_dependent_relayhost_maps."`
	Aliases            []string `toml:"aliases" doc:"Other addresses for recipients in our own domains, as lines: \"info@our.example ana@our.example, luis@our.example\"; \"@old.example @our.example\" (same user in another domain); \"@our.example ana@our.example\" (everybody who has no line)."`
	AliasFiles         []string `toml:"alias_files" doc:"Files of such lines: Postfix's virtual_alias_maps."`
	KnownRecipients    []string `toml:"known_recipients" doc:"Recipients that exist, as lines: \"ana@our.example\"; \"@our.example\" takes everybody of the domain. In a domain with such lines all others are refused (550 5.1.1) before the next hop is asked; in a domain without, the next hop is asked. postmaster@ and abuse@ always exist."`
	RecipientListFiles []string `toml:"recipient_list_files" doc:"Files of such lines: Postfix's relay_recipient_maps. An empty file is an error, so that a failed export does not change who exists."`
	RecipientDelimiter string   `toml:"recipient_delimiter" doc:"Sign between user and extension: ana+shop@our.example is looked up as it is, then as ana@our.example. Empty: there are no extensions."`
}

// maxFiles bounds the files of one key.
const maxFiles = 64

// Default has no tables: all mail goes to the listener's next hop.
func Default() Config { return Config{RecipientDelimiter: "+"} }

// Validate looks at the keys alone; Compile reads lines and files, and tells
// what is wrong in them.
func (c Config) Validate() []error {
	var errs []error
	if d := c.RecipientDelimiter; len(d) > 1 || d != "" && !strings.Contains("+-_=.#~!$%&*/^|", d) {
		errs = append(errs, fmt.Errorf("recipient_delimiter = %q: write one sign, such as \"+\" or \"-\", or nothing", d))
	}
	for _, s := range c.sources() {
		if len(s.files) > maxFiles {
			errs = append(errs, fmt.Errorf("%s: has %d files: put them together into %d at most", s.fileKey, len(s.files), maxFiles))
		}
		seen := map[string]bool{}
		for _, f := range s.files {
			switch {
			case !strings.HasPrefix(f, "/"):
				errs = append(errs, fmt.Errorf("%s = %q: %s", s.fileKey, f, wholePath(f)))
			case strings.HasSuffix(f, ".db") || strings.HasSuffix(f, ".lmdb") || strings.HasSuffix(f, ".cdb"):
				errs = append(errs, fmt.Errorf("%s = %q: is what postmap makes: name the text file that it is made from", s.fileKey, f))
			case seen[f]:
				errs = append(errs, fmt.Errorf("%s = %q: is named twice: remove one", s.fileKey, f))
			}
			seen[f] = true
		}
	}
	return errs
}

// wholePath says how to name a file. main.cf has the type of a table before it.
func wholePath(f string) string {
	kind, rest, ok := strings.Cut(f, ":")
	switch {
	case !ok || !strings.HasPrefix(rest, "/"):
		return "write the whole path, from /"
	case kind == "regexp" || kind == "pcre":
		return "regular expressions are not understood here: write domains and addresses, one a line, in a file of text"
	}
	return fmt.Sprintf("write %q, without %q; it is the text file that is read", rest, kind+":")
}

// source is where the lines of one table come from.
type source struct {
	lineKey, fileKey string
	lines, files     []string
}

const (
	recipientTable = iota
	senderTable
	aliasTable
	knownTable
)

func (c Config) sources() [4]source {
	return [4]source{
		recipientTable: {"recipients", "recipient_files", c.Recipients, c.RecipientFiles},
		senderTable:    {"senders", "sender_files", c.Senders, c.SenderFiles},
		aliasTable:     {"aliases", "alias_files", c.Aliases, c.AliasFiles},
		knownTable:     {"known_recipients", "recipient_list_files", c.KnownRecipients, c.RecipientListFiles},
	}
}
