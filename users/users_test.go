package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/store"
)

// open opens a store at path; "" is a new one.
func open(t testing.TB, path string) *store.Memory {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "state.db")
	}
	m, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// seen collects changes.
type seen struct {
	mu  sync.Mutex
	all []string
	ch  chan struct{}
}

func (s *seen) note(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, fmt.Sprintf("%s %v %v", c.User, c.Suspended, c.Here))
	if s.ch != nil {
		s.ch <- struct{}{}
	}
}

func registry(t testing.TB, m store.Store, o Options) *Registry {
	t.Helper()
	o.Store = m
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestSuspendResume: in force at once, told once, listed.
func TestSuspendResume(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	var s seen
	r := registry(t, m, Options{OnChange: s.note})
	ctx := t.Context()
	if _, ok := r.Suspended("ana@our.example"); ok {
		t.Error("suspended before")
	}
	got, err := r.Suspend(ctx, Suspension{User: "ana@our.example", Reason: "hijacked", By: "root"})
	if err != nil || got.Since.IsZero() {
		t.Fatal(got, err)
	}
	if s, ok := r.Suspended("ana@our.example"); !ok || s.Reason != "hijacked" || s.By != "root" {
		t.Errorf("%+v %v", s, ok)
	}
	if _, ok := r.Suspended("bob@our.example"); ok {
		t.Error("bob too")
	}
	if l := r.List(); len(l) != 1 {
		t.Error(l)
	}
	if _, ok, err := r.Resume(ctx, "ana@our.example", "root"); !ok || err != nil {
		t.Error(ok, err)
	}
	if _, ok := r.Suspended("ana@our.example"); ok {
		t.Error("still suspended")
	}
	if _, ok, _ := r.Resume(ctx, "ana@our.example", "root"); ok {
		t.Error("resumed twice")
	}
	if got := strings.Join(s.all, ", "); got != "ana@our.example true true, ana@our.example false true" {
		t.Error(got)
	}
	for _, bad := range []string{"", "a b", "a\nb", strings.Repeat("a", 301), "\xff"} {
		if _, err := r.Suspend(ctx, Suspension{User: bad}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if (*Registry)(nil) != nil {
		t.Error()
	}
	if _, ok := (*Registry)(nil).Suspended("ana"); ok {
		t.Error("of nobody")
	}
}

// TestElsewhere: what another gateway decides holds here, and is told as
// somebody else's.
func TestElsewhere(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	s := seen{ch: make(chan struct{}, 4)}
	a := registry(t, m, Options{})
	b := registry(t, m, Options{OnChange: s.note})
	if _, err := a.Suspend(t.Context(), Suspension{User: "ana", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	<-s.ch
	if _, ok := b.Suspended("ana"); !ok {
		t.Error("not suspended on the other")
	}
	a.Resume(t.Context(), "ana", "root")
	<-s.ch
	if _, ok := b.Suspended("ana"); ok {
		t.Error("not resumed on the other")
	}
	if got := strings.Join(s.all, ", "); got != "ana true false, ana false false" {
		t.Error(got)
	}
	if _, err := a.Limit(t.Context(), Override{User: "ana", Limits: []string{"5 messages / 1h"}}); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock() // any event before is done
	b.mu.Unlock()
	if o, ok := a.Override("ana"); !ok || o.Limits[0] != "5 messages / 1h" {
		t.Errorf("%+v %v", o, ok)
	}
}

// TestSurvivesRestart: a suspension is on the disk when the command returns.
func TestSurvivesRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := open(t, path)
	r, err := New(Options{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	r.Suspend(t.Context(), Suspension{User: "ana", Reason: "x", Until: until})
	r.Limit(t.Context(), Override{User: "bob", Limits: []string{"5 messages / 1h"}})
	r.Close()
	m.Close()
	m = open(t, path)
	defer m.Close()
	var s seen
	r = registry(t, m, Options{OnChange: s.note})
	if got, ok := r.Suspended("ana"); !ok || !got.Until.Equal(until) {
		t.Errorf("%+v %v", got, ok)
	}
	if _, ok := r.Override("bob"); !ok || len(r.Overrides()) != 1 {
		t.Error("the limits of bob are gone")
	}
	if len(s.all) > 0 {
		t.Errorf("told at the start: %v", s.all)
	}
	r.Limit(t.Context(), Override{User: "bob"})
	if _, ok := r.Override("bob"); ok {
		t.Error("bob's limits stay")
	}
}

// TestUntil: the end of a suspension needs nobody.
func TestUntil(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	var at atomic.Int64
	at.Store(time.Now().Unix())
	r := registry(t, m, Options{Now: func() time.Time { return time.Unix(at.Load(), 0) }})
	now := time.Unix(at.Load(), 0)
	if _, err := r.Suspend(t.Context(), Suspension{User: "ana", Until: now.Add(-time.Second)}); err == nil {
		t.Error("a suspension of the past")
	}
	r.Suspend(t.Context(), Suspension{User: "ana", Until: now.Add(time.Hour)})
	r.Limit(t.Context(), Override{User: "ana", Limits: []string{"x"}, Until: now.Add(time.Hour)})
	at.Add(3599)
	if _, ok := r.Suspended("ana"); !ok {
		t.Error("over too soon")
	}
	at.Add(1)
	if _, ok := r.Suspended("ana"); ok || len(r.List()) != 0 {
		t.Error("not over")
	}
	if _, ok := r.Override("ana"); ok || len(r.Overrides()) != 0 {
		t.Error("limits not over")
	}
}

// broken is a store whose disk takes nothing, or which is gone.
type broken struct {
	store.Store
	put  error
	list atomic.Bool
}

func (b *broken) PutNow(ctx context.Context, k string, v []byte, d time.Duration) error {
	if b.put != nil {
		b.Store.Put(ctx, k, v, d)
		return b.put
	}
	return b.Store.PutNow(ctx, k, v, d)
}

func (b *broken) List(ctx context.Context, p, a string, n int) ([]store.Item, error) {
	if b.list.Load() {
		return nil, errors.New("gone")
	}
	return b.Store.List(ctx, p, a, n)
}

// TestDiskFault: a disk that takes nothing does not keep a suspension from
// holding, and the command says so.
func TestDiskFault(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	b := &broken{Store: m, put: errors.New("no disk")}
	r := registry(t, b, Options{})
	if _, err := r.Suspend(t.Context(), Suspension{User: "ana"}); !errors.Is(err, ErrNotDurable) {
		t.Error(err)
	}
	if _, ok := r.Suspended("ana"); !ok {
		t.Error("not suspended")
	}
	b.list.Store(true)
	if err := r.readAll(t.Context(), true); err == nil {
		t.Error("no error")
	}
	if _, ok := r.Suspended("ana"); !ok {
		t.Error("a store that is gone lifts suspensions")
	}
	if _, err := New(Options{Store: b}); err == nil {
		t.Error("a start without knowing who is suspended")
	}
}

// TestRelist finds again what events have lost.
func TestRelist(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	var s seen
	r := registry(t, deaf{m}, Options{OnChange: s.note})
	m.PutNow(t.Context(), prefixSuspend+"ana", []byte(`{"user":"ana"}`), 0)
	m.PutNow(t.Context(), prefixSuspend+"bob", []byte(`{"user":"eve"}`), 0) // not ours
	m.PutNow(t.Context(), prefixSuspend+"carl", []byte(`{`), 0)
	if _, ok := r.Suspended("ana"); ok {
		t.Error("heard")
	}
	r.again(t.Context())
	if _, ok := r.Suspended("ana"); !ok || len(r.List()) != 1 {
		t.Error("not found again", r.List())
	}
	m.DeleteNow(t.Context(), prefixSuspend+"ana")
	r.again(t.Context())
	if len(r.List()) != 0 || len(s.all) != 2 {
		t.Error(r.List(), s.all)
	}
}

// TestWatchBeginsAgain: a watch that the store ended is begun anew.
func TestWatchBeginsAgain(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	s := seen{ch: make(chan struct{}, 4)}
	f := &flighty{Memory: m, first: make(chan store.Event)}
	r := registry(t, f, Options{OnChange: s.note})
	close(f.first)
	m.PutNow(t.Context(), prefixSuspend+"ana", []byte(`{"user":"ana"}`), 0)
	<-s.ch
	if _, ok := r.Suspended("ana"); !ok {
		t.Error("not suspended")
	}
}

// flighty ends its first watch.
type flighty struct {
	*store.Memory
	first chan store.Event
	n     atomic.Int32
}

func (f *flighty) Watch(ctx context.Context, p string) <-chan store.Event {
	if f.n.Add(1) == 1 {
		return f.first
	}
	return f.Memory.Watch(ctx, p)
}

// deaf is a store whose watch says nothing.
type deaf struct{ *store.Memory }

func (d deaf) Watch(ctx context.Context, _ string) <-chan store.Event {
	ch := make(chan store.Event)
	context.AfterFunc(ctx, func() { close(ch) })
	return ch
}

// TestParallel is for the race detector.
func TestParallel(t *testing.T) {
	m := open(t, "")
	defer m.Close()
	r := registry(t, m, Options{OnChange: func(Change) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			u := fmt.Sprintf("u%d", i%3)
			for range 50 {
				r.Suspend(t.Context(), Suspension{User: u})
				r.Suspended(u)
				r.Resume(t.Context(), u, "x")
				r.List()
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		if _, ok := r.Suspended(fmt.Sprintf("u%d", i)); ok {
			t.Error("left suspended")
		}
	}
}

// TestHook: no shell, words as they are, the timeout holds.
func TestHook(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	prog := filepath.Join(dir, "lock")
	if err := os.WriteFile(prog, []byte("#!/bin/sh\nprintf '%s|' \"$@\" \"$GARITA_ACTION\" \"$GARITA_USER\" \"$GARITA_BY\" > "+out+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := Hook{Command: []string{prog, "{action}", "a {user} b", "$(id)"}, Timeout: 10 * time.Second}
	c := Change{Suspension: Suspension{User: "x';`id`@our.example", By: "root\x00"}, Suspended: true}
	if err := h.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(out)
	if string(got) != "suspend|a x';`id`@our.example b|$(id)|suspend|x';`id`@our.example|root?|" {
		t.Errorf("%q", got)
	}
	c.User = "-rf"
	if err := h.Run(t.Context(), c); !errors.Is(err, errOption) {
		t.Error(err)
	}
	if err := (Hook{}).Run(t.Context(), c); err != nil {
		t.Error(err)
	}
	c.User = "ana"
	if err := (Hook{Command: []string{"/bin/false"}, Timeout: time.Second}).Run(t.Context(), c); err == nil {
		t.Error("a failure is none")
	}
	if err := (Hook{Command: []string{"/bin/sleep", "60"}, Timeout: 50 * time.Millisecond}).Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Error(err)
	}
	if errs := (Hook{Command: []string{"sh"}, Timeout: 0}).Validate(); len(errs) != 2 {
		t.Error(errs)
	}
}

func BenchmarkSuspended(b *testing.B) {
	m := open(b, "")
	defer m.Close()
	r := registry(b, m, Options{})
	r.Suspend(b.Context(), Suspension{User: "ana"})
	for b.Loop() {
		r.Suspended("bob")
	}
}
