package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestListsAreReadOnce: what was checked is what is used, even when a file
// has changed in between; then nothing is kept.
func TestListsAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := defaults()
	s.Check.Access.SenderFiles = []string{file("senders", "bad.example reject\n")}
	s.Route.AliasFiles = []string{file("aliases", "info@our.example ana@our.example\n")}
	if _, errs, _ := s.checks(); len(errs) > 0 {
		t.Fatal(errs)
	}
	if _, problems := s.routes(); len(problems) > 0 {
		t.Fatal(problems)
	}
	file("senders", "no such action here\n")
	file("aliases", "\"\n")
	l, err := checksOf(&s)
	if err != nil {
		t.Fatalf("the lists were read again: %v", err)
	}
	if again, err := checksOf(&s); again != l || err != nil {
		t.Errorf("the lists were read again: %v", err)
	}
	if _, err := routesOf(&s); err != nil {
		t.Errorf("the tables were read again: %v", err)
	}
	// Another configuration is read.
	other := s
	other.Check.Access.SenderAccept = "any"
	other.Route.RecipientDelimiter = "-"
	if _, err := checksOf(&other); err == nil {
		t.Error("the lists of another configuration were used")
	}
	if _, err := routesOf(&other); err == nil {
		t.Error("the tables of another configuration were used")
	}
	s.read = readLists{}
	if _, err := checksOf(&s); err == nil {
		t.Error("lists were kept")
	}
	if _, err := routesOf(&s); err == nil {
		t.Error("tables were kept")
	}
}
