package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// fakeSecond puts a server that takes everything, and commands that know
// nothing, in the place of the second gateway.
func fakeSecond(t *testing.T, session smtp.Session) func(Site) (*Second, error) {
	start := startFake(t, session)
	return func(site Site) (*Second, error) {
		g, err := start(site)
		if err != nil {
			return nil, err
		}
		return &Second{
			Inbound: g.Inbound, Outbound: g.Outbound, Policy: filepath.Join(t.TempDir(), "p"), Milter: filepath.Join(t.TempDir(), "m"),
			Log: g.Log, Spool: g.Spool, Stop: g.Stop,
			Command: func(context.Context, ...string) ([]byte, error) { return []byte("{}"), nil },
			Probe:   func(context.Context) {}, Look: func() {}, Advance: func(time.Duration) {},
			Drip: func(context.Context) error { return nil },
		}, nil
	}
}

// Every scene must find out a gateway that does nothing of what it should.
func TestEverySceneCanFail(t *testing.T) {
	told := 0
	r, err := Run(context.Background(), Config{
		Start: startFake(t, swallow{}), StartSecond: fakeSecond(t, swallow{}), Cases: Cases()[:1], Patience: time.Millisecond,
		Progress: func(n, of int, what Words) {
			if told++; n != told || of != 1+len(scenes()) || what.EN == "" {
				t.Errorf("progress: %d of %d, %q", n, of, what)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || len(r.Results) != 1+len(scenes()) || told != len(r.Results) || len(r.Sections) != len(sections()) {
		t.Errorf("ok %t, %d results of %d", r.OK, len(r.Results), 1+len(scenes()))
	}
	for _, one := range r.Results {
		if one.OK || len(one.Why) == 0 {
			t.Errorf("%s passed: %q", one.Name, one.Reply)
		}
	}
}

func TestSecondFaults(t *testing.T) {
	fault := errors.New("no port")
	stopped := false
	start := startFake(t, swallow{})
	_, err := Run(context.Background(), Config{
		Start: func(s Site) (*Gateway, error) {
			g, err := start(s)
			if err == nil {
				stop := g.Stop
				g.Stop = func() error { stopped = true; return stop() }
			}
			return g, err
		},
		StartSecond: func(Site) (*Second, error) { return nil, fault },
	})
	if !errors.Is(err, fault) || !stopped {
		t.Errorf("%v, the first stopped: %t", err, stopped)
	}
	// A secret in the log, a file left, and a bad end are faults of the whole.
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(log, []byte("asked "+listKey+"."+goodZone), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Report{}
	r.endSecond(&Second{Log: log, Spool: dir, Stop: func() error { return fault }})
	if len(r.Faults) != 3 || !strings.Contains(r.Faults[2], "key of a DNS list") {
		t.Errorf("faults %q", r.Faults)
	}
}

func TestStageJudges(t *testing.T) {
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	body := through(ana, "Hello")
	trace := "Received: from x\r\n\tby " + Hostname + " (Garita) with ESMTP id A1\r\nX-Garita-Result: x\r\nX-Greylist: delayed\r\n"
	good := Stored{Host: smartHost, From: ana, To: []string{outside}, Data: []byte(trace + string(body))}
	want := parcel{smartHost, ana, outside, body}
	for name, one := range map[string]struct {
		here  []Stored
		want  []parcel
		fails bool
	}{
		"as it must":        {[]Stored{good}, []parcel{want}, false},
		"nothing":           {nil, []parcel{want}, true},
		"one too many":      {[]Stored{good, good}, []parcel{want}, true},
		"another host":      {[]Stored{{Host: mailHost, From: ana, To: good.To, Data: good.Data}}, []parcel{want}, true},
		"another sender":    {[]Stored{{Host: smartHost, From: marta, To: good.To, Data: good.Data}}, []parcel{want}, true},
		"another recipient": {[]Stored{{Host: smartHost, From: ana, To: []string{marta}, Data: good.Data}}, []parcel{want}, true},
		"an octet less":     {[]Stored{{Host: smartHost, From: ana, To: good.To, Data: good.Data[:len(good.Data)-1]}}, []parcel{want}, true},
		"no trace":          {[]Stored{{Host: smartHost, From: ana, To: good.To, Data: []byte("X-Garita-A: b\r\n" + string(body))}}, []parcel{want}, true},
		"nothing wanted":    {[]Stored{good}, nil, true},
	} {
		s := &stage{ctx: context.Background(), w: w, now: &Result{}}
		w.hosts[1].stored = slices.Clone(one.here)
		s.wantParcels(one.want...)
		if (len(s.now.Why) > 0) != one.fails {
			t.Errorf("%s: %q", name, s.now.Why)
		}
	}
	for _, r := range []Reply{{250, "2.0.0 Ok"}, {554, "5.7.1 for another reason"}, {}} {
		s := &stage{now: &Result{}}
		s.wantReply(r, "554 5.7.1", listReason)
		if len(s.now.Why) == 0 {
			t.Errorf("%q passed", r)
		}
	}
	s := &stage{ctx: context.Background(), now: &Result{}, d: &Second{Command: func(context.Context, ...string) ([]byte, error) { return nil, errors.New("exit code 69") }}}
	if s.command(&struct{}{}, "rbl"); len(s.now.Why) != 1 {
		t.Errorf("a command that fails passed: %q", s.now.Why)
	}
}

// The lists say what their cases rest on.
func TestPlayedLists(t *testing.T) {
	for name, want := range map[string]played{
		reversed(listedClient) + "." + listKey + "." + goodZone: {addr: testEntry, text: listReason},
		reversed(namedClient) + "." + listKey + "." + goodZone:  {},
		reversed(listedClient) + "." + goodZone:                 {}, // without the key
		reversed("127.0.0.1") + "." + deadZone:                  {addr: testEntry, text: listReason},
		"anything." + hungZone:                                  {silent: true},
		reversed(ownAddress) + "." + ownList:                    {addr: testEntry, text: listReason},
		reversed(ownAddress) + "." + ownClean:                   {},
		reversed(ownAddress) + "." + ownParked:                  {addr: parkedAddress},
	} {
		if got, ok := play(name); !ok || got != want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
	if _, ok := play("mail.casa.example"); ok {
		t.Error("a name of no list is in one")
	}
}

func TestScenesAreWhole(t *testing.T) {
	names := map[string]bool{}
	known := map[string]bool{}
	for _, s := range sections() {
		known[s.Name] = true
	}
	for _, s := range scenes() {
		if names[s.name] || s.name == "" || s.play == nil || !known[s.section] {
			t.Errorf("scene %q is not whole", s.name)
		}
		names[s.name] = true
		for _, text := range []string{s.what.EN, s.what.ES} {
			if text == "" || fit(text, widthWhat) != text {
				t.Errorf("scene %q: %q does not fit", s.name, text)
			}
		}
	}
	if len(names) != len(Scenes()) {
		t.Error("Scenes are others")
	}
}
