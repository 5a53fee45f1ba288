package keys

import (
	"strings"
	"testing"

	"garita/mail"
)

// postfixRows are the keys of [check.postfix]; what cannot be seen in a
// decision about one message is shown in the check's own tests.
func postfixRows() []effect {
	const p = "check.postfix."
	list := func(rule string) string { return `["pcre:{file:` + rule + `}"]` }
	header := p + "header_checks = " + list("/^Subject: hello/ REJECT No")
	body := p + "body_checks = " + list("/^Hello/ REJECT No|/^Subject: inside/ REJECT No")
	return []effect{
		{key: p + "mode", value: `"observe"`, base: header, scene: simple, want: "-answer 550 5.7.1 No", still: "postfix.header_checks"},
		{key: p + "header_checks", value: list("/^Subject: hello/ REJECT No"), scene: simple, want: "+answer 550 5.7.1 No"},
		{key: p + "mime_header_checks", value: `[]`, base: p + "header_checks = " + list("/^Content-Type: .*plain/ HOLD"), scene: forwarded, want: "-postfix.mime_header_checks", still: "verdict"},
		{key: p + "nested_header_checks", value: list("/^Subject: inside/ HOLD"), scene: forwarded, want: "+postfix.nested_header_checks"},
		{key: p + "body_checks", value: list("/^Hello/ REJECT No"), scene: simple, want: "+answer 550 5.7.1 No"},
		{key: p + "disable_mime_input_processing", value: "true", base: body, scene: forwarded, want: "+postfix.body_checks"},
		{key: p + "whole_body", value: "true", base: body, scene: "Subject: long\r\n\r\n" + strings.Repeat("0123456789\r\n", 5000) + "Hello\r\n", want: "+postfix.body_checks"},
		{key: p + "keep_stray_cr", value: "true", base: p + "body_checks = " + list("/a b/ HOLD"), scene: "Subject: x\r\n\r\na\rb\r\n", want: "-postfix.body_checks", still: "verdict"},
	}
}

// ruleRows are the keys of [check.rules].
func ruleRows() []effect {
	const p = "check.rules."
	own := func(keys string) string {
		return p + `files = ["{file:[[rule]]|id = "hi"|match = ['subject contains "hello"']|` + keys + `}"]`
	}
	refuse := own(`action = "reject"`)
	return []effect{
		{key: p + "mode", value: `"observe"`, base: refuse, scene: simple, want: "-answer 550 5.7.1 Refused by rule [hi]", still: "rules.hi"},
		{key: p + "files", value: refuse[len(p+"files = "):], scene: simple, want: "+answer 550 5.7.1 Refused by rule [hi]"},
		{key: p + "builtin", value: `["extensions"]`, base: p + "builtin = []", scene: programAttached, want: "+rules."},
	}
}

// TestRules: the keys of [check.rules]; the scene is the message.
func TestRules(t *testing.T) {
	run(t, ruleRows(), func(t *testing.T, toml string, e effect) string {
		if strings.HasPrefix(e.line(), "check.rules.builtin") && strings.Contains(toml, e.line()) {
			toml = e.line() // a key stands once
		}
		d := newDesk(t, bare("rules")+withFile(t, toml))
		d.judge(e.scene, mail.In)
		return d.text()
	})
}

// forwarded is a message with another one in it.
const forwarded = "Subject: outside\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\nContent-Type: text/plain\r\n\r\nx\r\n"

// TestPostfixTables: the keys of [check.postfix]; the scene is the message.
func TestPostfixTables(t *testing.T) {
	run(t, postfixRows(), func(t *testing.T, toml string, e effect) string {
		d := newDesk(t, bare("postfix")+withFile(t, toml))
		d.judge(e.scene, mail.In)
		return d.text()
	})
}

// programAttached has the name of a program, and nothing in it.
const programAttached = "Subject: x\r\nContent-Type: application/octet-stream; name=\"a.bat\"\r\n\r\nx\r\n"
