package migrate

import (
	"slices"
	"strings"
)

// restrictionLists are the lists of smtpd, and what a table without a word
// before it is asked for in each.
func restrictionLists() [][2]string {
	return [][2]string{{"smtpd_client_restrictions", "client"}, {"smtpd_helo_restrictions", "helo"}, {"smtpd_sender_restrictions", "sender"},
		{"smtpd_relay_restrictions", "recipient"}, {"smtpd_recipient_restrictions", "recipient"}, {"smtpd_data_restrictions", "data"},
		{"smtpd_end_of_data_restrictions", "data"}, {"smtpd_etrn_restrictions", "client"}}
}

// equal is what a restriction is here.
type equal struct {
	fate     Fate
	key, why string
}

const inItsMode = "with the mode and points that it has by default; enforce there refuses as Postfix did"

// equals are the restrictions without an argument.
func equals() map[string]equal {
	always := func(why string) equal { return equal{Imported, "", "always so: " + why} }
	none := func(why string) equal { return equal{Skipped, "", why} }
	in := func(key string) equal { return equal{Changed, key, inItsMode} }
	e := map[string]equal{
		"permit_mynetworks":           {Imported, "listener.outbound.trusted_networks", "whoever may send to anywhere has a listener of the role outbound"},
		"permit_sasl_authenticated":   {Skipped, "listener.NAME.auth", "users who log in have a listener of the role outbound with auth = true; see docs/configuration.md"},
		"permit_tls_clientcerts":      {Skipped, "listener.NAME.client_certificates", "write the fingerprints there, as SHA-256"},
		"reject_unauth_destination":   always("an inbound listener takes mail for relay_domains alone"),
		"defer_unauth_destination":    always("an inbound listener takes mail for relay_domains alone, and refuses other mail for good"),
		"permit_auth_destination":     always("an inbound listener takes mail for relay_domains alone"),
		"reject_unauth_pipelining":    always("who talks out of turn is counted (conduct.junk) and refused"),
		"reject_unlisted_recipient":   always("route.known_recipients, or the next hop, says who exists"),
		"reject_unverified_recipient": always("the next hop is asked at each RCPT and its answer remembered"),
		"reject_unknown_client":       in("check.client.unknown"), "reject_unknown_client_hostname": in("check.client.unknown"),
		"reject_unknown_reverse_client_hostname": in("check.client.no_ptr"),
		"reject_invalid_hostname":                in("check.helo.syntax"), "reject_invalid_helo_hostname": in("check.helo.syntax"),
		"reject_non_fqdn_hostname": in("check.helo.fqdn"), "reject_non_fqdn_helo_hostname": in("check.helo.fqdn"),
		"reject_unknown_hostname": in("check.helo.resolves"), "reject_unknown_helo_hostname": in("check.helo.resolves"),
		"reject_non_fqdn_sender": in("check.sender.fqdn"), "reject_unknown_sender_domain": in("check.sender.unknown_domain"),
		"reject_unknown_address":    in("check.sender.unknown_domain"),
		"reject_non_fqdn_recipient": in("check.recipient.fqdn"), "reject_unknown_recipient_domain": in("check.recipient.unknown_domain"),
		"permit":                        {Imported, "", "the end of the list: what is left passes, as always"},
		"reject":                        always("what no listener takes is refused"),
		"defer":                         none("all that is left would be put off"),
		"warn_if_reject":                {Note, "", "the restriction after it only warned: mode observe is that"},
		"defer_if_permit":               none("each check says by itself whether it puts off"),
		"defer_if_reject":               none("each check says by itself whether it puts off"),
		"reject_unverified_sender":      none("senders are not called back: it troubles their servers and gets one listed"),
		"reject_multi_recipient_bounce": none("bounces to several recipients: write a rule, match = ['sender is \"\"', 'recipients > 1']"),
		"permit_mx_backup":              none("it relays for whoever names this machine as MX: list the domains in relay_domains"),
		"permit_inet_interfaces":        none("trusted_networks names whoever may send"),
		"reject_plaintext_session":      {Skipped, "listener.NAME.require_tls", "require_tls = true, not on a public MX"},
		"reject_sender_login_mismatch":  none("a login is not tied to senders here yet"),
		"reject_authenticated_sender_login_mismatch": none("a login is not tied to senders here yet"),
		"reject_known_sender_login_mismatch":         none("a login is not tied to senders here yet"),
	}
	e["check_relay_domains"] = equal{Changed, "listener.inbound.relay_domains", "gone since Postfix 2.2; an inbound listener takes mail for relay_domains alone"}
	e["permit_naked_ip_address"] = none("gone since Postfix 2.3; [check.helo] bare_address looks at such names")
	e["reject_maps_rbl"] = equal{Skipped, "", "gone since Postfix 2.1 (reject_rbl_client); see maps_rbl_domains"}
	return e
}

// restrictions goes through the lists one by one.
func (m *mainImport) restrictions() {
	if name := "maps_rbl_domains"; m.v.isSet(name) {
		m.say(name, Skipped, "", "gone since Postfix 2.1 (reject_rbl_client ZONE); its zones follow")
		for _, zone := range split(m.v.get(name)) {
			m.zone(m.v.set[name].line, zone)
		}
	}
	known := equals()
	uses := map[string][]string{}
	for _, l := range restrictionLists() {
		if !m.v.isSet(l[0]) {
			continue
		}
		m.told[l[0]] = true
		m.list(l[0], l[1], known, uses)
	}
	for path, checks := range uses {
		if len(checks) > 1 {
			slices.Sort(checks)
			m.tell(0, Note, path, "one file for "+strings.Join(slices.Compact(checks), " and ")+": what is an address of mail is found by the sender check, "+
				"what is an IP address or host name by the client check; the same domain means the host's there and the sender's here")
		}
	}
}

func (m *mainImport) list(name, check string, known map[string]equal, uses map[string][]string) {
	line := m.v.set[name].line
	words := split(m.v.get(name))
	guarded := false // reject_unauth_destination has been
	for i := 0; i < len(words); i++ {
		word := strings.ToLower(words[i])
		argument := func() string {
			if i+1 < len(words) {
				i++
				return words[i]
			}
			return ""
		}
		tell := func(f Fate, what, key, why string) {
			m.line(Line{Line: line, Fate: f, What: name + ": " + what, Rule: key, Why: why})
		}
		if e, ok := known[word]; ok {
			guarded = guarded || word == "reject_unauth_destination" || word == "check_relay_domains"
			tell(e.fate, word, e.key, e.why)
			continue
		}
		access, isAccess := strings.CutPrefix(word, "check_")
		access, isAccess2 := strings.CutSuffix(access, "_access")
		_, _, isMap := mapFile(words[i])
		switch {
		case word == "reject_rbl_client" || word == "reject_rbl" || word == "permit_dnswl_client" || strings.HasPrefix(word, "reject_rhsbl_"):
			m.zone(line, argument())
		case word == "check_policy_service":
			tell(Skipped, word+" "+argument(), "", "policy services are not asked; postgrey and the like can stay in the Postfix behind, with xclient = true")
		case word == "sleep":
			tell(Skipped, word+" "+argument(), "listener.inbound.greet_delay", "greet_delay makes clients without a name wait")
		case isAccess && isAccess2:
			m.accessUse(name, access, argument(), line, uses, guarded)
		case isMap:
			m.accessUse(name, check, words[i], line, uses, guarded)
		case m.v.isSet(word):
			tell(Skipped, word, "", "classes of restrictions have no equal")
		default:
			tell(Skipped, word, "", "it has no equal")
		}
	}
}

// zone says what is known of a DNS list.
func (m *mainImport) zone(line int, zone string) {
	zone, _, _ = strings.Cut(zone, "=")
	l := Line{Line: line, What: "DNS list " + zone, Fate: Skipped}
	d, ok := FindDeadList(zone)
	switch {
	case ok && !d.Alive:
		l.Fate, l.Why = Dead, d.Since+": "+d.Effect+". Take it out of Postfix too"
	case ok:
		l.Why = d.Effect + ". DNS lists are not asked here yet: leave it in the Postfix behind, with xclient = true"
	default:
		l.Why = "DNS lists are not asked here yet: leave it in the Postfix behind, with xclient = true"
	}
	m.line(l)
}

// accessUse imports an access file for a check.
func (m *mainImport) accessUse(list, check, table string, line int, uses map[string][]string, guarded bool) {
	l := Line{Line: line, What: list + ": check_" + check + "_access " + table}
	kind, path, ok := mapFile(table)
	switch {
	case check != "client" && check != "sender" && check != "recipient" && check != "helo":
		l.Fate, l.Why = Skipped, "there is no list for "+show(check, 40)
	case !ok || kind == "pcre" || kind == "regexp":
		l.Fate, l.Why = Skipped, "such a table cannot be read here; patterns are for rules, as match = ['"+subjectOf(check)+" matches /.../i']"
	case slices.Contains(uses[path], check):
		l.Fate, l.Why = Note, "the file was read for this check above"
	}
	if l.Fate == 0 {
		uses[path] = append(uses[path], check)
		text, why := m.readFile(path)
		if why != "" {
			l.Fate, l.Why = Skipped, why
			m.line(l)
			return
		}
		l.Fate, l.Rule = Imported, "check.access"
		if check == "sender" && !guarded && (list == "smtpd_recipient_restrictions" || list == "smtpd_relay_restrictions") {
			l.Fate, l.Why = Changed, "it stands before reject_unauth_destination: an OK in it makes Postfix an open relay for whoever claims that sender"
		}
		m.line(l)
		o := m.options
		o.File, o.Check = path, check
		accessFile(m.sheet, &m.lists, text, o, m.entry)
		return
	}
	m.line(l)
}

// access writes [check.access] of all files that were read.
func (m *mainImport) access() {
	if m.lists.empty() {
		return
	}
	m.plan.must("check.access", "mode", quote(m.options.mode()))
	for _, one := range []struct {
		key    string
		values []string
	}{{"clients", m.lists.clients}, {"names", m.lists.names}, {"helo", m.lists.helo}, {"senders", m.lists.senders}, {"recipients", m.lists.recipients}} {
		if len(one.values) == 0 {
			continue
		}
		if err := m.plan.add("check.access", one.key, list(one.values)); err != nil {
			m.tell(0, Skipped, "check.access."+one.key, show(err.Error(), 300))
		}
	}
}

// rest accounts for every other parameter.
func (m *mainImport) rest(list []parameter) {
	for _, p := range list {
		if m.told[p.name] || m.v.set[p.name].line != p.line {
			continue
		}
		f, why := restOf(p.name)
		m.say(p.name, f, "", why)
	}
}

func restOf(name string) (Fate, string) {
	for _, r := range []struct {
		names string
		fate  Fate
		why   string
	}{
		{"smtpd_milters non_smtpd_milters milter_default_action milter_protocol", Skipped,
			"milters are not asked here: leave them in the Postfix behind (with xclient = true they see the real client)"},
		{"content_filter smtpd_proxy_filter", Skipped, "a filter behind the queue or in front of it: [check.clamav], [check.rspamd] and [check.spamassassin] " +
			"ask scanners directly, while the sender waits; the filter can stay where it is as well"},
		{"smtpd_helo_required disable_vrfy_command strict_rfc821_envelopes smtpd_reject_unlisted_recipient smtpd_tls_auth_only", Imported, "always so"},
		{"smtpd_delay_reject", Note, "refusals of envelope checks are told where each check says; see docs/protocol.md"},
		{"smtpd_tls_CAfile smtpd_tls_CApath", Skipped, "for client certificates: client_ca_file of an outbound listener"},
		{"smtpd_sasl_auth_enable smtpd_sasl_type smtpd_sasl_path", Skipped, "users who log in have a listener with auth = true and [users]; see docs/configuration.md"},
		{"smtpd_banner mail_name", Skipped, "the greeting gives hostname alone"},
		{"mynetworks_style inet_interfaces inet_protocols", Skipped, "listen of each listener says where; trusted_networks says who"},
		{"local_recipient_maps", Skipped, "the next hop is asked who exists; route.known_recipients can list it"},
		{"myhostname mydomain myorigin mydestination relay_domains mynetworks config_directory", Note, "used where others name it"},
		{"parent_domain_matches_subdomains", Skipped, "check.access.parent_domain_matches is that for access lists; relay_domains lists each domain"},
		{"rbl_reply_maps default_rbl_reply", Skipped, "DNS lists are not asked here yet"},
		{"disable_mime_input_processing", Skipped, "[check.postfix] disable_mime_input_processing"},
		{"body_checks_size_limit", Skipped, "[check.postfix] whole_body looks at all of a body; rules always do"},
		{"always_bcc sender_bcc_maps recipient_bcc_maps", Skipped, "a rule with action = 'bcc \"address\"', or leave it in Postfix"},
		{"canonical_maps sender_canonical_maps recipient_canonical_maps masquerade_domains smtp_generic_maps", Skipped, "addresses are not rewritten here: leave it in Postfix"},
	} {
		for _, n := range strings.Fields(r.names) {
			if n == name {
				return r.fate, r.why
			}
		}
	}
	switch {
	case strings.HasPrefix(name, "postscreen_"):
		return Skipped, "postscreen stays with Postfix; greet_delay and [conduct] do some of its work"
	case strings.HasPrefix(name, "smtpd_tls_"):
		return Skipped, "TLS is set up in [tls]; ciphers and sessions have safe defaults that are no keys"
	case strings.HasPrefix(name, "smtp_") || strings.HasPrefix(name, "lmtp_") || strings.Contains(name, "queue") || strings.Contains(name, "bounce"):
		return Skipped, "delivery and queue stay with Postfix"
	case strings.HasPrefix(name, "alias_") || strings.HasPrefix(name, "virtual_") || strings.HasPrefix(name, "local_") || strings.HasPrefix(name, "mailbox_") ||
		strings.HasPrefix(name, "home_"):
		return Skipped, "mailboxes stay with Postfix"
	}
	return Skipped, "it has no equal; if it matters, leave it in the Postfix behind"
}
