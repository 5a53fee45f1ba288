package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"garita/bench/load"
)

// The systems of the rules: the gateway with 60 rules in its own language,
// with the same 60 as tables of Postfix over whole bodies, and Postfix with
// these tables, which looks at them only on the way into its queue.
const (
	withRules  = "rules"  // in our language, everything else as by default
	rulesAlone = "rules1" // without the checks of MIME and attachments
	withTables = "tables"
	queueDisk  = "queue"
	queueTmpfs = "queue-tmpfs"
	rulesCell  = "60 rules, "
)

// phrases and the like are of the kind that the guides of Postfix hand on; no
// message of the load has one.
var benchPhrases = []string{
	"te mando este archivo para que me des tu punto de vista", "i send you this file in order to have your advice",
	"espero me puedas ayudar con el archivo que te mando", "espero te guste este archivo que te mando",
	"este es el archivo con la información que me pediste", "rem i am sorry", "your mailbox has been suspended",
	"su cuenta ha sido suspendida", "verify your account information", "confirm your billing details",
	"buy cialis online", "make money fast", "this is not spam", "next of kin", "million us dollars",
	"lottery winner", "send bitcoin to", "click here to be removed",
}

var benchNames = []string{
	"happy99", "navidad", "prettypark", "zipped_files", "flcss", "msinit", "wininit", "msi216", "avp_updates", "qi_test", "anti_cih",
	"emanuel", "kmbfejkm", "nakedwife", "seicho_no_ie", "jamgcjja", "sulfnbk", "decrypt-password",
}

var benchPatterns = []string{
	`(kak|day)\.(reg|hta)`, `<iframe src=`, `<script[^>]*language\s*=\s*"?vbscript`, `<object[^>]*classid\s*=\s*"?clsid:`,
	`document\.write\s*\(\s*unescape`, `href\s*=\s*"?https?://\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}[:/]`, `https?://[^\s"]+\.(exe|scr|pif|bat)\b`,
	`wallet address:? [13][a-km-zA-HJ-NP-Z1-9]{25,34}`, `powershell(\.exe)? .{0,40}-(enc|encodedcommand)`,
}

var benchHeaders = []string{
	`From: Hahaha <hahaha@sexyfun\.net>`, `Subject: Enanito si, pero con que pedazo!`, `Subject: Re: Your password!`, `Subject: .*(viagra|cialis|levitra)`,
	`X-Mailer: .*(Mass Mailer|Group Mail|MailKing)`, `X-Spam-Flag: YES`, `Message-ID: <>`, `Subject: (Homepage|New Version Homepage)`,
}

var benchExtensions = []string{"asd", "chm", "dll", "hlp", "hta", "ocx", "pif"}

// ruleFile is the 60 rules in our language.
func ruleFile() string {
	var b strings.Builder
	n := 0
	rule := func(condition string) {
		n++
		fmt.Fprintf(&b, "[[rule]]\nid = \"bench-%d\"\nmatch = ['''%s''']\naction = \"reject\"\n\n", n, condition)
	}
	for _, p := range benchPhrases {
		rule(fmt.Sprintf(`text contains "%s"`, p))
	}
	for _, p := range benchNames {
		rule(fmt.Sprintf(`attachment name is "%s.exe"`, p))
	}
	for _, e := range benchExtensions {
		rule(fmt.Sprintf(`attachment extension is "%s"`, e))
	}
	for _, p := range benchPatterns {
		rule(fmt.Sprintf(`text matches /%s/i`, strings.ReplaceAll(p, "/", `\/`)))
	}
	for _, p := range benchHeaders {
		rule(fmt.Sprintf(`any header matches /^%s$/i`, strings.ReplaceAll(p, "/", `\/`)))
	}
	return b.String()
}

// tableFiles are the same as header_checks and body_checks.
func tableFiles() (header, body string) {
	var h, b strings.Builder
	for _, p := range benchPhrases {
		fmt.Fprintf(&b, "/%s/ REJECT\n", p)
	}
	for _, p := range benchNames {
		fmt.Fprintf(&b, "/(filename|name)=\"%s\\.exe\"/ REJECT\n", p)
	}
	for _, e := range benchExtensions {
		fmt.Fprintf(&b, "/(filename|name)=\".*\\.%s\"/ REJECT\n", e)
	}
	for _, p := range benchPatterns {
		fmt.Fprintf(&b, "/%s/ REJECT\n", strings.ReplaceAll(p, "/", `\/`))
	}
	for _, p := range benchHeaders {
		fmt.Fprintf(&h, "/^%s$/ REJECT\n", strings.ReplaceAll(p, "/", `\/`))
	}
	return h.String(), b.String()
}

// ruled starts one of the systems.
func (b *bench) ruled(ctx context.Context, name string) (*server, error) {
	header, body, own := filepath.Join(b.dir, "header.pcre"), filepath.Join(b.dir, "body.pcre"), filepath.Join(b.dir, "bench-rules.toml")
	h, t := tableFiles()
	for file, text := range map[string]string{header: h, body: t, own: ruleFile()} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	mine := append(b.settings(), setting{"check.rules", "files", fmt.Sprintf("[%q]", own)})
	without := []setting{{"check.mime", "mode", `"off"`}, {"check.attachment", "mode", `"off"`}}
	switch name {
	case withRules:
		return b.gateway(ctx, name, b.binary, mine)
	case rulesAlone:
		return b.gateway(ctx, name, b.binary, append(mine, without...))
	case withTables:
		return b.gateway(ctx, name, b.binary, append(append(b.settings(), without...),
			setting{"check.rules", "mode", `"off"`},
			setting{"check.postfix", "header_checks", fmt.Sprintf("[%q]", "pcre:"+header)},
			setting{"check.postfix", "body_checks", fmt.Sprintf("[%q]", "pcre:"+body)},
			setting{"check.postfix", "whole_body", "true"}))
	}
	checks := fmt.Sprintf("header_checks = pcre:%s\nbody_checks = pcre:%s\nrelayhost = %s\n", header, body, relayhost(b.sink.addr))
	dir := b.dir
	if name == queueTmpfs {
		var err error
		if dir, err = os.MkdirTemp("/dev/shm", "garita-bench-"); err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
		b.folders = append(b.folders, dir)
	}
	s, err := b.postfixWith(name, filepath.Join(dir, name), checks, "")
	if s != nil {
		s.queues = true
	}
	return s, err
}

// relayhost writes host:port as Postfix wants it.
func relayhost(addr string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "[" + host + "]:" + port
}

// ruleCells are the cells of the rules.
func (b *bench) ruleCells(ctx context.Context) error {
	systems := []string{withRules, rulesAlone, withTables, "postfix", queueDisk, queueTmpfs}
	for _, name := range systems {
		if b.systems[name] != nil || (name == queueDisk || name == queueTmpfs) && b.noPostfix || name == "postfix" || !b.measures(name) {
			continue
		}
		s, err := b.ruled(ctx, name)
		if err != nil {
			return err
		}
		b.systems[name] = s
	}
	for _, c := range []*cell{
		{Name: rulesCell + "4 KB, connections reused", Systems: systems, Rounds: b.rounds, config: b.load(b.small, 0)},
		{Name: rulesCell + "100 KB, connections reused", Systems: systems[:4], Rounds: min(b.rounds, 3), config: b.load(b.middle, 0)},
		{Name: rulesCell + "1 MB, connections reused", Systems: systems[:4], Rounds: min(b.rounds, 3), config: b.load(b.large, 0)},
		{Name: rulesCell + "1 MB of text, connections reused", Systems: systems[:4], Rounds: min(b.rounds, 3), config: b.load(load.Wire(load.Text(9, 1<<20)), 0)},
	} {
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// ruleRows are the targets of the rules.
func (b *bench) ruleRows() []row {
	var out []row
	for _, c := range b.Cells {
		if !strings.HasPrefix(c.Name, rulesCell) {
			continue
		}
		against := func(ours, other, what string, target float64) {
			if b.systems[other] == nil || b.systems[ours] == nil {
				return
			}
			q := c.perRound(ours, other, rate, quotient)
			out = append(out, row{c.Name + ": " + ours + " against " + what, fmt.Sprintf("≥ %g ×", target), fmt.Sprintf("%.2f ×", q),
				fmt.Sprintf("%.0f to %.0f a second; CPU %.0f to %.0f µs", c.median(ours, rate), c.median(other, rate), c.median(ours, cpu), c.median(other, cpu)), q >= target})
		}
		proxy := 0.8
		if strings.Contains(c.Name, "4 KB") {
			proxy = 2
			for _, ours := range []string{withRules, withTables} {
				against(ours, queueDisk, "Postfix's queue with the same tables", 12)
				against(ours, queueTmpfs, "the same, its queue on tmpfs", 7)
			}
		}
		for _, ours := range []string{withRules, rulesAlone, withTables} {
			against(ours, "postfix", "Postfix's proxy without rules", proxy)
		}
		if strings.Contains(c.Name, "1 MB") {
			for _, ours := range []string{rulesAlone, withTables} {
				if b.systems[ours] != nil {
					v := c.median(ours, cpu) / 1000
					out = append(out, row{c.Name + ": CPU of a megabyte, relay, index and rules, " + ours, "≤ 3.0 ms", fmt.Sprintf("%.2f ms", v), "", v <= 3.0})
				}
			}
		}
	}
	return out
}

// drained waits until the sink has what a queueing server took, and gives the
// time that it needed.
func (b *bench) drained(began time.Time, want int64) (time.Duration, error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n, err := b.taken()
		switch {
		case err != nil:
			return 0, err
		case n >= want:
			return time.Since(began), nil
		case time.Now().After(end):
			return 0, fmt.Errorf("the queue does not empty: %d are missing", want-n)
		}
	}
}
