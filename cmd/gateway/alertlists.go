package main

import (
	"context"
	"fmt"
	"time"

	"garita/alert"
	"garita/dnsbl"
)

// listWait bounds the look at what is known of our own addresses.
const listWait = 2 * time.Second

// dnsListAlerts are about DNS lists: those that are sick, and those that have us.
func dnsListAlerts(p *rblParts) (out []alert.Alert) {
	if p == nil {
		return nil
	}
	for _, l := range p.lists {
		if l.Health != dnsbl.Suspended {
			continue
		}
		out = append(out, alert.Alert{Key: "sick-list/" + l.Name, Kind: alert.SickList, Severity: alert.Warning,
			Subject: sickSubject(l.Name, l.Reason),
			Text: alert.Text{
				EN: "What it says counts for nothing, and no mail is refused for it. It is probed again and taken back when it is well.",
				ES: "Lo que diga no cuenta, y no se rechaza correo por ella. Se vuelve a probar y se admite de nuevo cuando sane.",
			},
			Command: []string{"garita", "rbl", "lists"}, Facts: []alert.Fact{fact("zone", l.Zone), fact("detail", l.Detail)}})
	}
	for _, s := range ownStandings(p) {
		if s.Result != dnsbl.OwnListed {
			continue
		}
		facts := []alert.Fact{fact("since", s.Since.UTC().Format(time.DateTime)), fact("lookup", s.Lookup), fact("cost", s.Cost), fact("ask from", s.From), fact("text", s.Text)}
		if past := p.own.SinceBad(); past >= 0 {
			facts = append(facts, fact("hours since the last sign of bad mail", past.Round(time.Hour).Hours()))
		}
		out = append(out, alert.Alert{Key: "own-listing/" + s.Subject + "/" + s.List, Kind: alert.OwnListing, Severity: alert.Critical,
			Subject: alert.Texts("%s is on the list %s", "%s está en la lista %s", s.Subject, s.List),
			Text: alert.Text{
				EN: "Other servers refuse or distrust mail from there. First find and stop what sends bad mail; asking to be taken off before makes it worse.",
				ES: "Otros servidores rechazan o desconfían del correo que sale de ahí. Primero encuentre y detenga lo que envía correo malo; pedir la baja antes lo empeora.",
			},
			Command: []string{"garita", "rbl"}, Facts: facts})
	}
	return out
}

// sickSubject says in both languages why a list does not count.
func sickSubject(name string, why dnsbl.Reason) alert.Text {
	es := map[dnsbl.Reason]string{
		dnsbl.Unproved: "aún no se ha probado", dnsbl.Everything: "incluye a todos", dnsbl.Empty: "está vacía",
		dnsbl.Refuses: "se niega a contestar", dnsbl.Parked: "contesta fuera de 127.0.0.0/8", dnsbl.Silent: "no contesta a tiempo",
		dnsbl.Jump: "incluye mucho más que antes", dnsbl.GoodPeers: "incluye servidores de buen correo conocido",
	}[why]
	if es == "" {
		es = string(why)
	}
	return alert.Text{EN: alert.Texts("the DNS list %s is suspended: it %s", "", name, string(why)).EN,
		ES: alert.Texts("", "la lista DNS %s queda suspendida: %s", name, es).ES}
}

// ownStandings is what is known of our own addresses and domains.
func ownStandings(p *rblParts) []dnsbl.Standing {
	if p == nil || p.own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), listWait)
	defer cancel()
	all, err := p.own.Last(ctx)
	if err != nil {
		return nil
	}
	return all
}

// rblAnswer is garita check rbl: on how many lists our own addresses are.
func rblAnswer(_ context.Context, d *daemon, _ *generation) checkAnswer { return rblStanding(d.rbl()) }

func rblStanding(p *rblParts) (a checkAnswer) {
	if p == nil || p.own == nil {
		return checkAnswer{Off: "not enabled (dns.servers)"}
	}
	all := ownStandings(p)
	if len(all) == 0 {
		return checkAnswer{Off: "nothing was asked yet, or there is no address to ask about (rbl.addresses)"}
	}
	listed, failed, sick := 0, 0, 0
	first := ""
	for _, s := range all {
		switch s.Result {
		case dnsbl.OwnListed:
			listed++
			if first == "" {
				first = ": " + s.Subject + " on " + s.List
			}
		case dnsbl.OwnError:
			failed++
		}
	}
	for _, l := range p.lists {
		if l.Health == dnsbl.Suspended {
			sick++
		}
	}
	a.Text = fmt.Sprintf("%d of %d look-ups listed%s", listed, len(all), first)
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "listed", Value: float64(listed), Critical: "0", Min: zero, Max: whole(len(all))},
		{Label: "errors", Value: float64(failed), Min: zero},
		{Label: "suspended_lists", Value: float64(sick), Warning: "0", Min: zero},
	}
	return a
}
