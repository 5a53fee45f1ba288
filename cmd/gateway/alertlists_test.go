package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/alert"
	"garita/dnsbl"
	"garita/filters/all"
	"garita/resolver"
	"garita/store"
)

// listedResolver has every address on every list but what probes ask for.
type listedResolver struct{ resolver.Resolver }

func (listedResolver) A(_ context.Context, name string) ([]netip.Addr, error) {
	if strings.HasPrefix(name, "7.2.0.192.") || strings.HasPrefix(name, "2.0.0.127.") {
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	}
	return nil, resolver.ErrNotFound
}

func (listedResolver) TXT(context.Context, string) ([]string, error) {
	return nil, resolver.ErrNotFound
}

// TestListAlerts: a list that is suspended and one that has us are told, and
// what is well is not.
func TestListAlerts(t *testing.T) {
	p := &rblParts{lists: []all.ListStatus{
		{Name: "good", Health: dnsbl.Healthy}, {Name: "sick", Zone: "sick.example", Health: dnsbl.Suspended, Reason: "lists everything", Since: time.Now()},
	}}
	got := dnsListAlerts(p)
	if len(got) != 1 || got[0].Key != "sick-list/sick" || got[0].Kind != alert.SickList || !strings.Contains(got[0].Subject.ES, "suspendida") {
		t.Errorf("%+v", got)
	}
	for _, why := range []dnsbl.Reason{dnsbl.Unproved, dnsbl.Everything, dnsbl.Empty, dnsbl.Refuses, dnsbl.Parked, dnsbl.Silent, dnsbl.Jump, dnsbl.GoodPeers} {
		if s := sickSubject("sick", why); !strings.HasSuffix(s.EN, string(why)) || strings.HasSuffix(s.ES, string(why)) || strings.Contains(s.EN+s.ES, "%!") {
			t.Errorf("%s: %+v", why, s)
		}
	}
	if a := rblStanding(p); a.Off == "" {
		t.Errorf("without a watch: %+v", a)
	}
	if dnsListAlerts(nil) != nil || rblStanding(nil).Off == "" {
		t.Error("before the start")
	}
}

// TestOwnListed: what the watch found is an alert and a figure of garita check.
func TestOwnListed(t *testing.T) {
	c := dnsbl.DefaultOwn()
	c.Addresses = []string{"192.0.2.7"}
	own, err := dnsbl.NewOwn(dnsbl.OwnOptions{Config: c, Resolver: listedResolver{}, Store: store.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	own.Round(t.Context())
	p := &rblParts{own: own}
	a := rblStanding(p)
	if a.Off != "" || len(a.Figures) == 0 || a.Figures[0].Value == 0 {
		t.Fatalf("%+v", a)
	}
	got := dnsListAlerts(p)
	if len(got) == 0 || got[0].Kind != alert.OwnListing || got[0].Severity != alert.Critical || !strings.HasPrefix(got[0].Key, "own-listing/192.0.2.7/") {
		t.Errorf("%+v", got)
	}
}
