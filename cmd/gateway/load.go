package main

import (
	"os"
	"strings"

	"garita/config"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
)

// options tell the config package the defaults of table entries: those of a
// listener depend on its role.
func options() config.Options {
	return config.Options{
		Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
		EntryDefaults: func(path string, raw map[string]any) any {
			if isNextHop(path) {
				return relay.DefaultConfig()
			}
			if d := alertDefaults(path); d != nil {
				return d
			}
			if !strings.HasPrefix(path, "listener.") {
				return nil // a zero entry
			}
			role, _ := raw["role"].(string)
			return smtpproxy.DefaultListener(role)
		},
	}
}

func isNextHop(path string) bool {
	return len(path) > len("next_hop.") && path[:len("next_hop.")] == "next_hop."
}

// load reads the configuration and checks its meaning too. The settings may be
// used only when there are no problems. The document is there in any case.
func load(file string, look lookup) (*Settings, *config.Document, config.Problems) {
	s := defaults()
	doc, problems := config.Load(file, &s, options())
	report(doc, problems, check(&s, look))
	return &s, doc, doc.Problems()
}

// report adds faults to what the reading of a document found.
func report(doc *config.Document, problems config.Problems, list []fault) {
	for _, f := range list {
		// What could not be read has its default in place: to complain of
		// that would hide the one mistake behind its consequences.
		if len(problems) > 0 && (consequence(doc, problems, f.key) || f.cause != "" && consequence(doc, problems, f.cause)) {
			continue
		}
		switch {
		case f.other != nil:
			doc.AddOther(*f.other, f.warning)
		case f.warning:
			doc.Warn(f.key, f.text, f.try)
		default:
			doc.Add(f.key, f.text, f.try)
		}
	}
}

// consequence tells that a finding about a key follows from a problem with the
// same key, an element of it, one of its tables, or a file that could not be read at all, or from
// a key that is misspelt.
func consequence(doc *config.Document, problems config.Problems, key string) bool {
	if doc.Misspelt(key) {
		return true
	}
	for _, p := range problems {
		if p.Key == "" || p.Key == key || strings.HasPrefix(key, p.Key+".") || strings.HasPrefix(p.Key, key+"[") {
			return true
		}
	}
	return false
}

// configFlag is the option that every command with a configuration has.
type configFlag struct {
	Config string `short:"c" default:"${config}" type:"path" help:"Configuration file (${default})."`
}

// socketFlag finds the admin socket.
type socketFlag struct {
	configFlag
	Socket string `type:"path" help:"Admin socket, instead of the configuration's."`
}

// path gives the admin socket. A configuration with mistakes elsewhere still
// tells where the running gateway is.
func (f *socketFlag) path() (string, error) {
	if f.Socket != "" {
		return f.Socket, nil
	}
	s := defaults()
	doc, problems := config.Load(f.Config, &s, options())
	if len(problems) > 0 && !doc.IsSet("admin.socket") && unreadable(f.Config) {
		return "", &exitError{exitConfig, problems.Error()}
	}
	return s.Admin.Socket, nil
}

func unreadable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return true
	}
	f.Close()
	return false
}
