package metrics

import "time"

// Sources are what is asked at a scrape. Each may be nil: then its metrics are
// absent. They must return at once, from memory.
type Sources struct {
	Gateway      func() Gateway
	Wire         func() Wire
	Budget       func() Budget
	NextHops     func() []NextHop
	Resolver     func() Resolver
	Conduct      func() Conduct
	Accounts     func() Accounts
	Certificates func() []Certificate
	Disks        func() []Disk
	Stores       func() []Store
	Log          func() Log
	Antivirus    func() Antivirus
	DNSLists     func() DNSLists
	Hold         func() Hold
	Alerts       func() Alerts
	Milter       func() Milter
	PolicyServer func() PolicyServer
}

// Build is what the program was built from.
type Build struct{ Version, Go string }

// Gateway is the state of the program as a whole.
type Gateway struct {
	Mode        string // enforce or observe
	Bypass      bool   // checks refuse nothing for a while
	Draining    bool
	Started     time.Time
	Loaded      time.Time // when the configuration in use was read
	ReloadBad   bool      // the last reload failed
	Reloads     uint64    // that succeeded
	ReloadsBad  uint64
	TLSFault    bool // a certificate file could not be taken
	CheckFaults uint64
}

// Wire is smtpproxy's picture; the counters are since the start.
type Wire struct {
	Sessions    int // now
	Connections uint64
	Refusals    uint64 // of senders and recipients
	NoRoom      uint64 // 452 before DATA
	TLSFailed   uint64
	Panics      uint64
	// Rejected connections by reason, a fixed list: see rejectReasons.
	Rejected map[string]uint64
	Pressure bool // deadlines are shorter now
	Pressed  uint64
}

// rejectReasons are the values of the label reason.
func rejectReasons() []string {
	return []string{"connection_limit", "conduct", "proxy_header", "pressure"}
}

// Budget is the room of all messages together.
type Budget struct {
	Total, Used, Memory, UsedMemory int64 // octets
	Messages                        int
	Refused                         uint64
}

// NextHop is one configured next hop.
type NextHop struct {
	Name                                                 string
	Up                                                   bool
	Busy, Idle, Waiting                                  int // connections; deliveries that wait
	Connects, ConnectErrors, Relayed, Refused, Ambiguous uint64
}

// Resolver is the picture of the DNS cache and its servers.
type Resolver struct {
	Hits, Misses, UDP, TCP, Skipped                  uint64
	Silent, Rcode, Malformed, Network, Foreign, Busy uint64
	Entries, InFlight                                int
	ServersUp, Servers                               int
}

// Conduct is what is remembered of clients.
type Conduct struct {
	Bans            int    // that hold now
	Banned, Refused uint64 // bans that were made; acts that were too much
}

// Accounts is what logging in has seen.
type Accounts struct {
	Users                       int
	Successes, Failures, Busied uint64
}

// Certificate is one certificate in use.
type Certificate struct {
	Name     string // of the configuration
	NotAfter time.Time
}

// Disk is the file system of a folder of the configuration.
type Disk struct {
	Path        string
	Free, Total uint64
}

// Store is one store of state.
type Store struct {
	Name           string
	Entries        int
	Writes, Errors uint64
	Pending        int // changes not yet on disk
}

// Hold is the holding place.
type Hold struct {
	Messages int
	Bytes    int64
}

// Alerts is what is open, by severity, and what channels did.
type Alerts struct {
	Open map[string]int
	Sent []AlertsSent
}

// AlertsSent is how often a channel of the configuration came to a result.
type AlertsSent struct {
	Channel, Result string
	N               uint64
}

// Log is the mail log.
type Log struct{ Records, Dropped uint64 }

// Antivirus is what scanning has seen.
type Antivirus struct {
	Servers, Up            int
	Unscanned              time.Duration // how long nothing has been scanned
	Scans, Failures        uint64
	CacheHits, CacheMisses uint64
	Signatures             time.Time // the oldest of the servers
}

// DNSLists is what DNS lists have said, and how we stand on them.
type DNSLists struct {
	Lists []DNSList
	Own   []OwnListed
}

// DNSList is one of them. Answers are by the results of
// garita_dnsbl_queries_total.
type DNSList struct {
	Name    string
	Healthy bool
	Answers map[string]uint64
}

// OwnListed is how one of our own stands on a list.
type OwnListed struct {
	IP, List string
	Listed   bool
}

// Milter is what MTAs that ask by milter protocol have done; the maps are by
// the labels of garita_milter_*.
type Milter struct {
	Sessions, Users int // now: connections, and those of users who have logged in
	Connections     uint64
	TurnedAway      uint64
	Refusals        uint64
	Commands        map[string]uint64
	Messages        map[string]uint64
	Errors          map[string]uint64
}

// PolicyServer is what MTAs have asked by policy delegation.
type PolicyServer struct {
	Connections int // now
	Answers     map[string]uint64
	// Durations counts answers by the upper bound of their time in seconds, each
	// with those below it; Count and Sum are all of them.
	Durations map[float64]uint64
	Count     uint64
	Sum       float64
}
