package migrate

import "garita/dnsbl"

// DeadList is a DNS list that is no longer what it was; the table is dnsbl's.
type DeadList = dnsbl.DeadList

// DeadLists are the lists that guides still name.
func DeadLists() []DeadList { return dnsbl.DeadLists() }

// FindDeadList looks a zone up: itself, or what it stands below.
func FindDeadList(zone string) (DeadList, bool) { return dnsbl.FindDeadList(zone) }
