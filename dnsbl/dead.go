package dnsbl

import "strings"

// DeadList is a DNS list that is no longer what it was.
type DeadList struct {
	// Zone, or the end of one.
	Zone string `json:"zone"`
	// Since when, as YYYY, YYYY-MM or YYYY-MM-DD.
	Since string `json:"since"`
	// Effect is what asking it does today, or did; Alive that it may be asked.
	Effect string `json:"effect"`
	Alive  bool   `json:"alive,omitempty"`
}

// DeadLists are the lists that guides still name. A list dies in one of three
// ways: it lists the world (all mail is refused), it is silent (every mail
// waits), or it is empty (nothing is found).
func DeadLists() []DeadList {
	return []DeadList{
		{"ordb.org", "2006-12", "closed; since 2008-03 it lists the whole world: every mail is refused", false},
		{"dsbl.org", "2008", "closed; its name servers point to dead addresses: every mail waits for a time-out", false},
		{"mail-abuse.org", "2005", "became commercial: no answers for the public", false},
		{"mail-abuse.com", "2005", "became commercial: no answers for the public", false},
		{"blitzed.org", "2006", "closed: nothing answers", false},
		{"dnsbl.sorbs.net", "2024-06-05", "closed and emptied: it finds nothing", false},
		{"sorbs.net", "2024-06-05", "closed and emptied: it finds nothing", false},
		{"ahbl.org", "2015-01-01", "closed; lists the whole world: every mail is refused", false},
		{"njabl.org", "2013-03", "closed: nothing is listed", false},
		{"bl.spamcannibal.org", "2018-05-30", "its domain lapsed; it has listed the whole world", false},
		{"ix.dnsbl.manitu.net", "2025-01-16", "closed and emptied: it finds nothing", false},
		{"dnsbl.inps.de", "2020-05-25", "closed: nothing answers", false},
		{"unsubscore.com", "2020", "reported as off line: nothing answers", false},
		{"ubl.lashback.com", "2020", "reported as off line: nothing answers", false},
		{"bl.emailbasura.org", "2017", "its domain lapsed; it has listed the whole world", false},
		{"megarbl.net", "2017", "its domain lapsed; it has listed the whole world", false},
		{"dul.ru", "2017", "its domain lapsed; it has listed the whole world", false},
		{"msrbl.net", "2017", "its domain lapsed; it has listed the whole world", false},
		{"dnsbl.cyberlogic.net", "2018-05", "lists the whole world: every mail is refused", false},
		{"spam.dnsbl.anonmails.de", "2024-11-12", "answers outside of 127.0.0.0/8, which reject_rbl_client without a filter takes for a listing", false},
		{"virbl.bit.nl", "2020", "closed: nothing is listed", false},
		{"virbl.dnsbl.bit.nl", "2020", "closed: nothing is listed", false},
		{"spam.abuse.ch", "2014", "closed: nothing is listed", false},
		{"db.wpbl.info", "2020", "closed: nothing answers", false},
		{"anti-spam.org.cn", "2020", "closed: nothing answers", false},
		{"sbl.nszones.com", "2017", "an impostor's copy", false},
		{"cbl.abuseat.org", "2021", "merged: the same data as Spamhaus XBL; with zen.spamhaus.org it counts twice", true},
		{"sbl.spamhaus.org", "2004", "alive; zen.spamhaus.org has it and the others in one question. Public resolvers get 127.255.255.254, which is no listing", true},
		{"xbl.spamhaus.org", "2004", "alive; zen.spamhaus.org has it and the others in one question", true},
		{"dnsbl-2.uceprotect.net", "2005", "alive; lists whole ranges", true},
		{"dnsbl-3.uceprotect.net", "2005", "alive; lists whole providers", true},
		{"bl.spamcop.net", "2021-01-30", "alive; its domain lapsed for hours and listed the whole world", true},
		{"b.barracudacentral.org", "2008", "alive; answers only resolvers that are registered there", true},
	}
}

// FindDeadList looks a zone up: itself, or what it stands below.
func FindDeadList(zone string) (DeadList, bool) {
	zone = strings.ToLower(strings.TrimSuffix(zone, "."))
	for _, d := range DeadLists() {
		if zone == d.Zone || strings.HasSuffix(zone, "."+d.Zone) {
			return d, true
		}
	}
	return DeadList{}, false
}
