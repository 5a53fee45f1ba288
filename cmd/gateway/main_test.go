package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is garita itself when a script, or a test of the daemon,
// calls it by that name.
func TestMain(m *testing.M) {
	// With -race every process would wait a second before its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	testscript.Main(m, map[string]func(){"garita": main})
}

// TestScripts runs testdata/script: each file is a dialogue with the command
// line, with what it must say.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE garita ARG…: exec does not tell one failure from
			// another.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE program args…")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var e *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &e) {
					got = e.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			// verdict FILE: the last output of garita test -o json is that of
			// FILE, but for the time that the checks took.
			"verdict": func(ts *testscript.TestScript, _ bool, args []string) {
				got := map[string]any{}
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
				for _, key := range []string{"milliseconds", "checks"} {
					if _, ok := got[key]; !ok {
						ts.Fatalf("no %s in the answer", key)
					}
					delete(got, key)
				}
				want := map[string]any{}
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &want))
				if !reflect.DeepEqual(got, want) {
					ts.Fatalf("got %v, want %v", got, want)
				}
			},
			// mode OCTAL FILE: the permission bits.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Lstat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
					ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
				}
			},
		},
	})
}

// TestConfigFile compares config.toml at the top of the repository with what
// the prototypes say.
func TestConfigFile(t *testing.T) {
	want, err := template(templateHeader, example())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("config.toml is not what the settings say; run: go run ./cmd/gateway config template > config.toml")
	}
}
