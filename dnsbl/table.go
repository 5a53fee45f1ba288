package dnsbl

import "slices"

// DefaultLists are asked where the configuration names none: free for small
// sites, no registration, few false positives.
func DefaultLists() []string {
	return []string{"spamhaus-zen", "spamhaus-dbl", "spamcop", "psbl", "dnswl"}
}

// Shipped are the lists that we know, with what an operator should know before
// asking them. Weights are points of [score].
func Shipped() []List {
	return slices.Concat(spamhaus(), addressLists(), providerLists(), domainLists())
}

// FindShipped gives the shipped list of that name.
func FindShipped(name string) (List, bool) {
	all := Shipped()
	i := slices.IndexFunc(all, func(l List) bool { return l.Name == name })
	if i < 0 {
		return List{}, false
	}
	return all[i], true
}

const spamhausTerms = "free for low volume and no business with it; else their Data Query Service with a key (then set key and zone). Public resolvers are refused"

func spamhaus() []List {
	return []List{
		{
			Name: "spamhaus-zen", Zone: "zen.spamhaus.org", Kinds: Address4 | Address6, Group: "spamhaus-ip",
			Codes: []Code{
				code("127.0.0.2", 4, "SBL: a source of spam"),
				code("127.0.0.3", 4, "CSS: sends spam in small doses"),
				code("127.0.0.[4..7]", 4, "XBL: an infected or open machine"),
				code("127.0.0.9", 6, "DROP: a network that criminals have taken"),
				code("127.0.0.[10..11]", 3, "PBL: an address that should not send mail by itself"),
				code("127.0.0.20", 1, "AuthBL: guesses passwords"),
				code("127.0.0.30", 4, "BCL: commands a botnet"),
			},
			Criteria: "observed spam, traps, infected machines (XBL, with the old CBL in it), and what providers declare as dial-up (PBL)",
			Risk:     "very low; PBL is no accusation, and holds home offices that send mail directly",
			Terms:    spamhausTerms, Lookup: "https://check.spamhaus.org/",
			Cost: "free", From: "the network's own administrator, by the form, from a working address of that domain; SBL: the provider asks",
		},
		{
			Name: "spamhaus-dbl", Zone: "dbl.spamhaus.org", Kinds: Host | Helo | Sender | URL, Group: "spamhaus-domain",
			Codes: []Code{
				code("127.0.1.2", 5, "a domain of spam"), code("127.0.1.4", 7, "a domain of phishing"),
				code("127.0.1.5", 7, "a domain of malware"), code("127.0.1.6", 7, "commands a botnet"),
				code("127.0.1.[102..106]", 2, "a good domain that is abused"),
				fault("127.0.1.255", "an address was asked for"),
			},
			Test:     Test{ListedName: "dbltest.com", CleanName: "example.com"},
			Criteria: "domains seen in spam, phishing and malware", Risk: "very low", Terms: spamhausTerms,
			Lookup: "https://check.spamhaus.org/", Cost: "free", From: "an address of that domain",
		},
	}
}

func addressLists() []List {
	return []List{
		{
			Name: "spamcop", Zone: "bl.spamcop.net", Kinds: Address4, TXT: true, Codes: []Code{code("127.0.0.2", 3, "reported as a source of spam")},
			Criteria: "reports of users and traps; an address leaves by itself 24 hours after the last one",
			Risk:     "some: senders of newsletters and large providers are on it for hours", Terms: "free",
			Lookup: "https://www.spamcop.net/bl.shtml", Cost: "free, by itself after 24 hours without reports", From: "nobody needs to ask",
		},
		{
			Name: "psbl", Zone: "psbl.surriel.com", Kinds: Address4, Codes: []Code{code("127.0.0.2", 2, "sent to a trap")},
			Criteria: "mail to traps, without a sign of a mail server", Risk: "low; anybody may remove an address", Terms: "free",
			Lookup: "https://psbl.org/remove", Cost: "free, at once", From: "anybody",
		},
		{
			Name: "mailspike", Zone: "bl.mailspike.net", Kinds: Address4, Test: Test{Listed4: None},
			Codes: []Code{
				code("127.0.0.2", 3, "sends spam now"), code("127.0.0.10", 4, "worst reputation"),
				code("127.0.0.11", 3, "very bad reputation"), code("127.0.0.12", 2, "bad reputation"),
			},
			Criteria: "reputation by what sensors see", Risk: "low", Terms: "free up to 100,000 questions a day",
			Lookup: "https://mailspike.io/ip_verify", Cost: "free", From: "the address's administrator",
		},
		{
			Name: "barracuda", Zone: "b.barracudacentral.org", Kinds: Address4, Register: true, Codes: []Code{code("127.0.0.2", 3, "poor reputation")},
			Criteria: "what their appliances and traps see", Risk: "some: whole hosts of shared providers",
			Terms:  "free; register the addresses of your resolvers first (barracudacentral.org/account/register), else it does not answer",
			Lookup: "https://www.barracudacentral.org/rbl/removal-request", Cost: "free, about 12 hours", From: "an address of the sending domain, with a telephone number",
		},
		{
			Name: "dnswl", Zone: "list.dnswl.org", Kinds: Address4 | Address6, Test: Test{Listed4: None, Listed6: None},
			Codes: []Code{
				code("127.0.[2..20].0", 0, "known, no trust"), code("127.0.[2..20].1", -1, "trust: low"),
				code("127.0.[2..20].2", -2.5, "trust: medium"), code("127.0.[2..20].3", -5, "trust: high"),
				fault("127.0.0.255", "too many questions, or by a public resolver"),
			},
			Criteria: "an allow list: mail servers whose operators answer for them", Risk: "a listed server may still be broken into",
			Terms: "free up to 100,000 questions a day", Lookup: "https://www.dnswl.org/s/", Cost: "free", From: "-",
		},
	}
}

func providerLists() []List {
	uce := func(n, criteria, risk string, weight float64, shared bool) List {
		return List{
			Name: "uceprotect-" + n, Zone: "dnsbl-" + n + ".uceprotect.net", Kinds: Address4, Group: "uceprotect", Shared: shared,
			Codes: []Code{code("127.0.0.2", weight, criteria)}, Criteria: criteria, Risk: risk, Terms: "free",
			Lookup: "https://www.uceprotect.net/en/rblcheck.php",
			Cost:   "free, by itself after 7 days without new spam; they sell a removal at once, which nobody needs: let it pass",
			From:   "nobody needs to ask; of levels 2 and 3 the provider must see to his other customers",
		}
	}
	return []List{
		uce("1", "level 1: the address itself sent to their traps", "some: also servers that answer forged senders", 1, false),
		uce("2", "level 2: a network with several listed addresses", "high: neighbours of spammers", 0.5, true),
		uce("3", "level 3: all addresses of a provider", "very high: all customers of large providers", 0, true),
	}
}

func domainLists() []List {
	return []List{
		{
			Name: "surbl", Zone: "multi.surbl.org", Kinds: URL, Organisational: true, URLAddresses: true,
			Codes: []Code{
				fault("127.0.0.&1", "questions from here are not answered"),
				code("127.0.0.&8", 6, "phishing"), code("127.0.0.&16", 6, "malware"),
				code("127.0.0.&64", 4, "spam"), code("127.0.0.&128", 3, "a site that was broken into"),
			},
			Test:     Test{ListedName: "surbl-org-permanent-test-point.com", CleanName: "example.com"},
			Criteria: "sites that spam links to", Risk: "low", Terms: "free for small sites (fewer than 1,000 users); refuses public resolvers",
			Lookup: "https://www.surbl.org/surbl-analysis", Cost: "free", From: "the site's owner",
		},
		{
			Name: "uribl", Zone: "multi.uribl.com", Kinds: URL | Sender, Organisational: true,
			Codes: []Code{
				fault("127.0.0.&1", "questions from here are not answered"),
				code("127.0.0.&2", 5, "black: a site of spam"), code("127.0.0.&4", 1, "grey: sends much that some call spam"),
				code("127.0.0.&8", 2, "red: watched"),
			},
			Test:     Test{ListedName: "test.uribl.com", CleanName: "example.com"},
			Criteria: "sites that spam links to", Risk: "low for black, some for grey and red", Terms: "free for low volume; refuses public resolvers",
			Lookup: "https://admin.uribl.com/", Cost: "free", From: "the site's owner",
		},
	}
}

// CERTLists are those that the guide of the national CERT names to look one's
// own servers up in, as far as they live. The dead of it are in DeadLists.
func CERTLists() []string {
	return []string{"spamhaus-zen", "spamhaus-dbl", "spamcop", "uceprotect-1", "uceprotect-2", "uceprotect-3", "barracuda"}
}

// CERTDead are the zones of the dead lists in that guide.
func CERTDead() []string { return []string{"cbl.abuseat.org", "dnsbl.sorbs.net", "ubl.lashback.com"} }
