// Command fuzz finds every fuzz target of the repository by `go test -list`
// and runs each for a while, one after the other, each with both processors.
//
//	go run ./test/fuzz -each 10s          ten seconds for each target
//	go run ./test/fuzz -total 30m         thirty minutes spread over all
//
// It ends with a non-zero status when a target found something (the input
// then lies in the package's testdata/fuzz) or when there is no target at
// all, and prints the targets, their executions and the minutes in total.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

type target struct{ pkg, name string }

func main() {
	each := flag.Duration("each", 0, "time for each target")
	total := flag.Duration("total", 0, "time for all targets together, instead of -each")
	only := flag.String("run", "", "only targets whose package.Name matches this expression")
	flag.Parse()
	if err := run(*each, *total, *only); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func run(each, total time.Duration, only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	targets, err := find(match)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return fmt.Errorf("no fuzz target found")
	}
	if total > 0 {
		each = total / time.Duration(len(targets))
	}
	if each <= 0 {
		return fmt.Errorf("say -each or -total")
	}
	begin := time.Now()
	failed := 0
	for _, t := range targets {
		execs, err := fuzz(t, each)
		if errors.Is(err, errClock) {
			execs, err = fuzz(t, each)
		}
		if err != nil {
			failed++
			fmt.Printf("FAIL %-28s %-36s %v\n", t.pkg, t.name, err)
			continue
		}
		fmt.Printf("ok   %-28s %-36s %12s executions\n", t.pkg, t.name, execs)
	}
	fmt.Printf("fuzz: %d targets, %s each, %.1f minutes, %d failed\n", len(targets), each.Round(time.Second), time.Since(begin).Minutes(), failed)
	if failed > 0 {
		return fmt.Errorf("%d targets failed", failed)
	}
	return nil
}

// find lists the fuzz targets. `go test -list` prints the names of a package
// and then its "ok" line.
func find(match *regexp.Regexp) ([]target, error) {
	cmd := exec.Command("go", "test", "-list", "^Fuzz", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -list: %w\n%s", err, out)
	}
	var all []target
	var names []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 1 && strings.HasPrefix(f[0], "Fuzz"):
			names = append(names, f[0])
		case len(f) >= 2 && (f[0] == "ok" || f[0] == "?"):
			for _, n := range names {
				if match.MatchString(f[1] + "." + n) {
					all = append(all, target{f[1], n})
				}
			}
			names = nil
		}
	}
	return all, nil
}

// fuzz runs one target and gives the number of executions that it reported
// last.
func fuzz(t target, d time.Duration) (string, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", d.String(), t.pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	execs := "?"
	count := regexp.MustCompile(`execs: (\d+)`)
	lines := bufio.NewScanner(bytes.NewReader(out.Bytes()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := count.FindStringSubmatch(lines.Text()); m != nil {
			execs = m[1]
		}
	}
	if err != nil && !bytes.Contains(out.Bytes(), []byte("Failing input written")) && bytes.Contains(out.Bytes(), []byte("\n    context deadline exceeded\n")) {
		return execs, fmt.Errorf("%w\n%s", errClock, out.String())
	}
	if err != nil {
		return execs, fmt.Errorf("%w\n%s", err, out.String())
	}
	return execs, nil
}

// errClock is the end of -fuzztime that go test now and then reports as a
// failure, when it comes while a worker answers. There is no input then: what
// a target finds is always written to testdata. It is run once again.
var errClock = errors.New("the time was up, and go test called it a failure")
