package config

import (
	"errors"
	"flag"
	"net/netip"
	"strings"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// level reads and writes itself.
type level int

func (l *level) UnmarshalText(b []byte) error {
	switch string(b) {
	case "low":
		*l = 1
	case "high":
		*l = 2
	default:
		return errors.New("it is low or high")
	}
	return nil
}

func (l level) MarshalText() ([]byte, error) {
	return []byte([]string{"", "low", "high"}[l]), nil
}

type limits struct {
	MaxConnections int           `toml:"max_connections" min:"1" max:"100000" doc:"Sessions at once."`
	MaxHops        uint8         `toml:"max_hops" doc:"Received fields of a message before it is refused as a loop. This sentence makes the comment long enough to be wrapped at one hundred columns of text."`
	MessageMemory  int64         `toml:"message_memory" unit:"bytes" max:"1GB" doc:"A message larger than this goes to a spool file."`
	Timeout        time.Duration `toml:"timeout" min:"1s" doc:"For a whole command."`
	Factor         float64       `toml:"factor" doc:"A share." max:"1"`
}

type listener struct {
	Role     string         `toml:"role" required:"true" enum:"inbound,outbound,content-filter" doc:"Who connects."`
	Listen   []string       `toml:"listen" doc:"Addresses."`
	Networks []netip.Prefix `toml:"trusted_networks" doc:"Who may use it."`
	STARTTLS bool           `toml:"starttls" doc:"Offer STARTTLS."`
	Size     int64          `toml:"max_message_size" unit:"bytes" doc:"Largest message."`
}

type login struct {
	User     string `toml:"user" doc:"Name."`
	Password string `toml:"password" secret:"true" doc:"Secret."`
}

type nextHop struct {
	URL   string            `toml:"url" doc:"Where."`
	Login *login            `toml:"login" doc:"How we log in."`
	Names map[string]string `toml:"names" doc:"Other names."`
}

type accessEntry struct {
	Client netip.Prefix `toml:"client" doc:"Who."`
	Action string       `toml:"action" enum:"reject,accept" doc:"What."`
	Until  time.Time    `toml:"until" doc:"Expiry."`
	Extra  struct {
		Note string `toml:"note" doc:"Words."`
	} `toml:"extra" doc:"More."`
}

type access struct {
	Level   level         `toml:"level" doc:"How much."`
	Entries []accessEntry `toml:"entry" doc:"The entries."`
}

type common struct {
	Mode string `toml:"mode" enum:"enforce,observe" doc:"Whether checks act."`
}

type proto struct {
	Hostname string              `toml:"hostname" doc:"Our name."`
	Common   common              `toml:"common" doc:"Shared."`
	Banner   string              `toml:"banner" multiline:"true" doc:"Text."`
	Limits   limits              `toml:"limits" doc:"Bounds."`
	Listener map[string]listener `toml:"listener" example:"inbound" doc:"A door."`
	NextHop  map[string]*nextHop `toml:"next_hop" doc:"A next hop."`
	Check    struct {
		Access access `toml:"access" doc:"Access lists."`
	} `toml:"check" doc:"Checks."`
	Weights map[string]float64 `toml:"weights" doc:"Weights."`
	Peers   []string           `toml:"peers" doc:"Peers."`
	Ports   []uint16           `toml:"ports" doc:"Ports."`
	Ratio   *int               `toml:"ratio" doc:"An optional number."`
}

func defaults() *proto {
	p := &proto{Peers: []string{"a", "b"}}
	p.Common.Mode = "enforce"
	p.Limits = limits{MaxConnections: 1000, MaxHops: 50, MessageMemory: 2 << 20, Timeout: 5 * time.Minute, Factor: 0.2}
	p.Check.Access.Level = 1
	p.Weights = map[string]float64{"spf": 1.5}
	p.NextHop = map[string]*nextHop{"main": {URL: "smtp://127.0.0.1:26"}}
	return p
}

// entries makes a listener's defaults depend on its role.
func entries(path string, raw map[string]any) any {
	if strings.HasPrefix(path, "listener.") {
		role, _ := raw["role"].(string)
		l := listener{Role: role, STARTTLS: true, Size: 25 << 20, Listen: []string{"0.0.0.0:25"}}
		if role == "content-filter" {
			l.STARTTLS = false
		}
		return l
	}
	return nil
}

func options() Options { return Options{EntryDefaults: entries} }

// strict has what must be given.
type strict struct {
	Hostname string              `toml:"hostname" required:"true"`
	Mode     string              `toml:"mode" enum:"enforce,observe"`
	Listener map[string]listener `toml:"listener" required:"true" example:"inbound"`
	Limits   limits              `toml:"limits"`
	Login    login               `toml:"login"`
	Check    struct {
		Access access `toml:"access"`
	} `toml:"check"`
	NextHop map[string]*nextHop `toml:"next_hop"`
}
