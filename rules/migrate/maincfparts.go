package migrate

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// limits are the numbers that have an equal.
func (m *mainImport) limits() {
	for _, l := range []struct{ name, table, key, unit string }{
		{"message_size_limit", "listener.inbound", "max_message_size", "B"},
		{"smtpd_client_connection_count_limit", "limits", "max_connections_per_client", ""},
		{"smtpd_recipient_limit", "limits", "max_recipients", ""},
		{"smtpd_soft_error_limit", "limits", "soft_errors", ""},
		{"smtpd_hard_error_limit", "limits", "hard_errors", ""},
		{"smtpd_junk_command_limit", "limits", "junk_commands", ""},
		{"hopcount_limit", "limits", "max_hops", ""},
		{"smtpd_timeout", "limits", "command_timeout", "s"},
	} {
		if !m.v.isSet(l.name) {
			continue
		}
		value := strings.TrimSpace(m.v.get(l.name))
		n, err := strconv.ParseInt(value, 10, 62)
		if l.unit == "s" {
			var ok bool
			if n, ok = seconds(value, "s"); !ok {
				err = strconv.ErrSyntax
			}
		}
		switch {
		case err != nil || n < 0:
			m.say(l.name, Skipped, "", "its value cannot be read (stress-adaptive values have no equal: the gateway watches its own load)")
		case n == 0:
			m.say(l.name, Skipped, "", "0 is no limit in Postfix; here there always is one")
		case l.unit == "":
			m.add(l.name, l.table, l.key, strconv.FormatInt(n, 10), "", Imported)
		default:
			m.add(l.name, l.table, l.key, quote(strconv.FormatInt(n, 10)+l.unit), "", Imported)
		}
	}
}

// seconds reads a time of main.cf, as 60, 60s, 5m, 1h, 2d, 1w.
func seconds(s, unit string) (int64, bool) {
	if s != "" {
		if last := s[len(s)-1:]; strings.Contains("smhdw", last) {
			s, unit = s[:len(s)-1], last
		}
	}
	n, err := strconv.ParseInt(s, 10, 40)
	if err != nil || n < 0 {
		return 0, false
	}
	return n * map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit], true
}

// rates are Postfix's limits for each client address.
func (m *mainImport) rates() {
	unit, ok := seconds(m.v.get("anvil_rate_time_unit"), "s")
	if !ok || unit == 0 {
		unit = 60
	}
	if m.v.isSet("anvil_rate_time_unit") {
		m.say("anvil_rate_time_unit", Changed, "", fmt.Sprintf("it is %d seconds (a number without a unit is seconds, not minutes); here all such limits "+
			"are for a minute, and the numbers are converted", unit))
	}
	const what = "Postfix counts for each client address, not for each user, and never counts mynetworks: webmail and users of the own networks were not " +
		"limited at all. conduct counts for each client address too and spares trusted ones; there is no limit for each user here yet. "
	for _, r := range []struct{ name, key, why string }{
		{"smtpd_client_message_rate_limit", "messages", what + "A low number here puts off the mail of large providers, which send from few addresses"},
		{"smtpd_client_connection_rate_limit", "connections", what},
		{"smtpd_client_recipient_rate_limit", "recipients", what},
		{"smtpd_client_new_tls_session_rate_limit", "handshakes", what},
	} {
		if !m.v.isSet(r.name) {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(m.v.get(r.name)), 10, 40)
		switch {
		case err != nil || n < 0:
			m.say(r.name, Skipped, "", "its value is no number")
		case n == 0:
			m.say(r.name, Skipped, "", "0 is no limit in Postfix; conduct."+r.key+" keeps its default")
		default:
			n = max(1, (n*60+unit-1)/unit)
			m.add(r.name, "conduct", r.key, strconv.FormatInt(n, 10), strings.TrimSpace(r.why), Changed)
		}
	}
	if m.v.isSet("smtpd_client_auth_rate_limit") {
		m.say("smtpd_client_auth_rate_limit", Skipped, "conduct.auth_failures", "it counts all logins; conduct.auth_failures counts those that fail")
	}
	const except = "smtpd_client_event_limit_exceptions"
	if m.v.isSet(except) {
		var nets []string
		for _, n := range split(m.v.get(except)) {
			if p, err := netip.ParsePrefix(n); err == nil && p.Bits() > 0 {
				nets = append(nets, p.Masked().String())
			}
		}
		if len(nets) == 0 {
			m.say(except, Skipped, "", "it names no network; trusted peers are never counted")
			return
		}
		m.add(except, "conduct", "exempt", list(nets), "", Imported)
	}
}

// tls are certificate, key and levels.
func (m *mainImport) tls() {
	cert, key := "smtpd_tls_cert_file", "smtpd_tls_key_file"
	if m.v.isSet(cert) {
		certFile, keyFile := m.v.get(cert), m.v.get(key)
		if keyFile == "" {
			keyFile = certFile
		}
		// Both or neither: one alone is a mistake.
		both := quote(certFile) + "\nkey_file = " + quote(keyFile)
		if m.add(cert, "tls", "certificate_file", both, "", Imported) && m.v.isSet(key) {
			m.say(key, Imported, "tls.key_file", "")
		} else if m.v.isSet(key) {
			m.say(key, Skipped, "", "it goes with the certificate")
		}
	}
	level := strings.ToLower(m.v.get("smtpd_tls_security_level"))
	name := "smtpd_tls_security_level"
	for _, old := range []struct{ name, level string }{{"smtpd_use_tls", "may"}, {"smtpd_enforce_tls", "encrypt"}} {
		if m.v.isSet(old.name) && (level == "" || m.told[name]) && strings.EqualFold(m.v.get(old.name), "yes") {
			level, name = old.level, old.name
		}
		if m.v.isSet(old.name) {
			m.say(old.name, Changed, "listener.inbound.starttls", "obsolete since Postfix 2.3 (smtpd_tls_security_level); STARTTLS is offered at any rate")
		}
	}
	switch {
	case level == "encrypt":
		m.say(name, Skipped, "listener.inbound.require_tls", "require_tls = true would refuse mail in clear text; RFC 3207 forbids that on a public MX, so it is not set")
	case m.v.isSet("smtpd_tls_security_level") && level == "none":
		m.add(name, "listener.inbound", "starttls", "false", "", Imported)
	case m.v.isSet("smtpd_tls_security_level"):
		m.say("smtpd_tls_security_level", Imported, "listener.inbound.starttls", "STARTTLS is offered at any rate")
	}
	m.smartTLS()
}

// smartTLS is TLS on the way to the smart host.
func (m *mainImport) smartTLS() {
	level := strings.ToLower(m.v.get("smtp_tls_security_level"))
	name := "smtp_tls_security_level"
	if level == "" {
		for _, old := range []struct{ name, level string }{{"smtp_use_tls", "may"}, {"smtp_enforce_tls", "verify"}} {
			if strings.EqualFold(m.v.get(old.name), "yes") {
				level, name = old.level, old.name
			}
		}
	}
	for _, old := range []string{"smtp_use_tls", "smtp_enforce_tls"} {
		if m.v.isSet(old) && (!m.smart || old != name) {
			m.say(old, Changed, "next_hop.NAME.tls", "obsolete since Postfix 2.3 (smtp_tls_security_level)")
		}
	}
	if level == "" {
		return
	}
	if !m.smart {
		if m.v.isSet("smtp_tls_security_level") {
			m.say("smtp_tls_security_level", Skipped, "", "there is no smart host that it would be for; [next_hop.mailserver] tls = \"may\" is the default")
		}
		return
	}
	value := map[string]string{"none": "none", "may": "may", "encrypt": "encrypt", "verify": "verify", "secure": "verify"}[level]
	if value == "" {
		m.say(name, Skipped, "", "there is no such level here: none, may, encrypt, verify or fingerprint")
		return
	}
	f, why := Imported, ""
	if name != "smtp_tls_security_level" {
		f, why = Changed, "obsolete since Postfix 2.3 (smtp_tls_security_level)"
	}
	m.add(name, "next_hop.smarthost", "tls", quote(value), why, f)
}

// checks are the tables that stay as they are.
func (m *mainImport) checks() {
	for _, name := range []string{"header_checks", "mime_header_checks", "nested_header_checks", "body_checks"} {
		if !m.v.isSet(name) {
			continue
		}
		var good, bad []string
		for _, t := range split(m.v.get(name)) {
			if kind, _, ok := mapFile(t); ok && (kind == "pcre" || kind == "regexp") {
				good = append(good, t)
			} else {
				bad = append(bad, show(t, 80))
			}
		}
		f, why := Imported, "as it is, oddities included; garita import postfix-"+strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(name, "mime_"), "nested_"), "_", "-")+
			" makes rules of it and says which of them can never match"
		if len(bad) > 0 {
			f, why = Changed, strings.Join(bad, ", ")+": only pcre: and regexp: tables are read; "+why
		}
		if len(good) == 0 && m.v.get(name) != "" {
			m.say(name, Skipped, "", strings.Join(bad, ", ")+": only pcre: and regexp: tables are read")
			continue
		}
		if m.plan.keys["check.postfix"] == nil {
			m.plan.must("check.postfix", "mode", quote(m.options.mode()))
		}
		m.add(name, "check.postfix", name, list(good), why, f)
	}
}

// routes are the tables about where mail goes and who exists.
func (m *mainImport) routes() {
	m.routeList("transport_maps", "recipients", transportLine)
	m.routeList("virtual_alias_maps", "aliases", m.aliasLine)
	m.routeList("virtual_maps", "aliases", m.aliasLine)
	m.routeList("relay_recipient_maps", "known_recipients", knownLine)
	m.routeList("virtual_mailbox_maps", "known_recipients", knownLine)
	m.routeList("sender_dependent_relayhost_maps", "senders", senderLine)
	if name := "recipient_delimiter"; m.v.isSet(name) && m.v.get(name) != "" {
		m.add(name, "route", "recipient_delimiter", quote(m.v.get(name)), "", Imported)
	}
}

// maxRouteLines is how many entries of tables are written out.
const maxRouteLines = 5000

// routeList turns the tables of a parameter into lines of [route].
func (m *mainImport) routeList(name, key string, convert func(key, value string) (line, changed, bad string)) {
	if !m.v.isSet(name) {
		return
	}
	var lines, why []string
	for _, t := range split(m.v.get(name)) {
		kind, path, ok := mapFile(t)
		if !ok || kind == "pcre" || kind == "regexp" || kind == "cidr" {
			why = append(why, show(t, 80)+" cannot be read here")
			continue
		}
		entries, err := m.readMap(path)
		if err != "" {
			why = append(why, err)
			continue
		}
		for _, e := range entries {
			l := Line{File: path, Line: e.Line, What: e.Key + " " + e.Value, Fate: Imported, Rule: "route." + key}
			line, changed, bad := convert(e.Key, e.Value)
			switch {
			case bad != "" || len(lines) >= maxRouteLines:
				if bad == "" {
					bad = "there are too many lines to write out; name the file in route." + strings.TrimSuffix(key, "s") + "_files"
				}
				l.Fate, l.Why, l.Rule = Skipped, bad, ""
			case changed != "":
				l.Fate, l.Why = Changed, changed
				lines = append(lines, line)
			default:
				lines = append(lines, line)
			}
			m.line(l)
		}
	}
	if len(lines) == 0 {
		m.say(name, Skipped, "", strings.Join(append(why, "there is nothing in it for [route]"), "; "))
		return
	}
	lines, dropped := m.usable(key, lines)
	f := Imported
	if len(why)+len(dropped) > 0 {
		f, why = Changed, append(why, dropped...)
	}
	m.add(name, "route", key, list(lines), strings.Join(why, "; "), f)
}

// usable leaves out lines that our reader refuses one by one, when it refuses
// them all together.
func (m *mainImport) usable(key string, lines []string) (good, dropped []string) {
	if m.plan.try == nil || len(lines) > 200 {
		return lines, nil
	}
	with := func(l []string) error {
		before := len(m.plan.keys["route"])
		err := m.plan.add("route", key, list(l))
		if err == nil {
			m.plan.keys["route"] = m.plan.keys["route"][:before]
			if before == 0 {
				m.plan.tables = m.plan.tables[:len(m.plan.tables)-1]
			}
		}
		return err
	}
	if with(lines) == nil {
		return lines, nil
	}
	for _, l := range lines {
		if err := with([]string{l}); err != nil && len(lines) > 1 {
			dropped = append(dropped, show(l, 60)+" is left out: "+show(err.Error(), 120))
			continue
		}
		good = append(good, l)
	}
	if len(good) == 0 {
		return lines, nil
	}
	return good, dropped
}

func transportLine(key, value string) (line, changed, bad string) {
	transport, next, ok := strings.Cut(value, ":")
	switch {
	case key == "*":
		return "", "", "there is no route for everything: that is next_hop of the listener"
	case !ok || transport == "" && next == "":
		return "", "", "it names no transport and host"
	case transport == "":
		transport = "smtp"
	case next == "":
		return "", "", "without a host it is Postfix's own delivery or the MX: leave it there"
	}
	if transport != "smtp" && transport != "relay" && transport != "lmtp" && transport != "smtps" {
		return "", "", "the transport " + show(transport, 40) + " is Postfix's own: leave it there, or name its server as [next_hop.NAME]"
	}
	if transport == "lmtp" && strings.HasPrefix(next, "unix:") {
		return key + " " + value, "", ""
	}
	if next[0] == '[' {
		return key + " " + transport + ":" + next, "", ""
	}
	host, port, _ := strings.Cut(next, ":")
	line = key + " " + transport + ":[" + host + "]"
	if port != "" {
		line += ":" + port
	}
	return line, "in brackets: no MX is looked up", ""
}

func (m *mainImport) aliasLine(key, value string) (line, changed, bad string) {
	if !strings.Contains(key, "@") {
		if isDomain(key) && strings.Contains(key, ".") {
			return "", "", "it only says that the domain exists (see relay_domains)"
		}
		return "", "", "a user without a domain: write user@domain"
	}
	origin := m.v.get("myorigin")
	var to []string
	for _, t := range split(value) {
		switch {
		case strings.HasPrefix(t, "/") || strings.HasPrefix(t, "|") || strings.HasPrefix(t, ":"):
			return "", "", "files and programs are Postfix's own"
		case !strings.Contains(t, "@") && isDomain(origin):
			t, changed = t+"@"+origin, "a user without a domain is one of myorigin"
		}
		to = append(to, t)
	}
	if len(to) == 0 {
		return "", "", "it leads nowhere"
	}
	return key + " " + strings.Join(to, ", "), changed, ""
}

func knownLine(key, _ string) (line, changed, bad string) {
	if !strings.Contains(key, "@") {
		return "", "", "it is no address"
	}
	return key, "", ""
}

func senderLine(key, value string) (line, changed, bad string) {
	if value == "" || strings.EqualFold(value, "DUNNO") {
		return "", "", "it leads nowhere"
	}
	line, changed, bad = transportLine(strings.TrimPrefix(key, "@"), "smtp:"+strings.TrimPrefix(value, "smtp:"))
	return line, changed, bad
}
