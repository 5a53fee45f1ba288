package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// reader is another program that takes messages apart.
type reader struct {
	name string
	// shows tells of each message whether the program shows the payload.
	shows func(t *testing.T, messages []string) []bool
}

// readers are all of them; each is a package of Debian.
func readers() []reader {
	return []reader{
		{"python", pythonShows},
		{"munpack", func(t *testing.T, m []string) []bool {
			return eachShows(t, m, func(dir, file string) *exec.Cmd { return exec.Command("munpack", "-t", "-f", "-C", dir, file) })
		}},
		{"ripmime", func(t *testing.T, m []string) []bool {
			return eachShows(t, m, func(dir, file string) *exec.Cmd {
				return exec.Command("ripmime", "-i", file, "-d", dir, "--no-nameless")
			})
		}},
		{"mime-tools", perlShows},
	}
}

// pythonProgram reads messages with both policies of Python's email package.
const pythonProgram = `
import sys, json, base64, email, email.policy, email.errors
mark = b'garita-payload'
def runs(name):
  return name is not None and 'garita-payload' in name and name.rstrip(' .').lower().endswith(('.exe', '.zip'))
def shows(raw, policy):
  try:
    m = email.message_from_bytes(raw, policy=policy)
  except Exception:
    return False
  try:
    for p in m.walk():
      try:
        n = p.get_filename()
        if isinstance(n, str) and n.rstrip(' .').lower().endswith('.exe') and 'garita-payload' in n:
          return True
      except Exception:
        pass
      try:
        d = p.get_payload(decode=True)
        if isinstance(d, bytes) and b'PK\x03\x04' in d and mark in d and d.find(b'PK\x03\x04') < 64:
          return True
      except Exception:
        pass
  except Exception:
    pass
  return False
out = []
for line in sys.stdin:
  raw = base64.b64decode(line)
  out.append(any(shows(raw, p) for p in (email.policy.compat32, email.policy.default)))
json.dump(out, sys.stdout)
`

// batch gives a program all messages, one a line in base64, and reads its
// answers as JSON.
func batch(t *testing.T, messages []string, name string, args ...string) []bool {
	t.Helper()
	var in bytes.Buffer
	for _, m := range messages {
		in.WriteString(strings.ReplaceAll(b64([]byte(m)), "\n", "") + "\n")
	}
	c := exec.Command(name, args...)
	c.Stdin = &in
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%.2000s", name, err, stderr.String())
	}
	var shown []bool
	if err := json.Unmarshal(out, &shown); err != nil || len(shown) != len(messages) {
		t.Fatalf("%s: %d answers to %d messages: %v", name, len(shown), len(messages), err)
	}
	return shown
}

func pythonShows(t *testing.T, messages []string) []bool {
	return batch(t, messages, "python3", "-c", pythonProgram)
}

// perlProgram reads messages with MIME::Parser, as MIMEDefang and others do.
const perlProgram = `
use strict; use MIME::Parser; use MIME::Base64;
my @out;
sub walk {
  my ($e) = @_;
  my $n = eval { $e->head->recommended_filename };
  return 1 if defined $n && $n =~ /garita-payload/ && $n =~ /\.exe[ .]*$/i;
  if ($e->bodyhandle) {
    my $d = $e->bodyhandle->as_string;
    my $i = index($d, "PK\x03\x04");
    return 1 if $i >= 0 && $i < 64 && index($d, 'garita-payload') >= 0;
  }
  for my $p ($e->parts) { return 1 if walk($p) }
  return 0;
}
while (my $line = <STDIN>) {
  my $parser = MIME::Parser->new;
  $parser->output_to_core(1); $parser->tmp_to_core(1); $parser->decode_headers(1); $parser->extract_uuencode(1);
  local $SIG{__WARN__} = sub {};
  my $e = eval { $parser->parse_data(decode_base64($line)) };
  push @out, ($e && eval { walk($e) }) ? 'true' : 'false';
}
print '[', join(',', @out), ']';
`

func perlShows(t *testing.T, messages []string) []bool {
	return batch(t, messages, "perl", "-e", perlProgram)
}

// eachShows runs a program for each message, and looks at the files that it
// makes.
func eachShows(t *testing.T, messages []string, command func(dir, file string) *exec.Cmd) []bool {
	t.Helper()
	shown := make([]bool, len(messages))
	top := t.TempDir()
	var wait sync.WaitGroup
	for worker := range 2 {
		wait.Go(func() {
			for i := worker; i < len(messages); i += 2 {
				dir := filepath.Join(top, fmt.Sprint(i))
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Error(err)
					return
				}
				file := dir + ".eml"
				if err := os.WriteFile(file, []byte(messages[i]), 0o600); err != nil {
					t.Error(err)
					return
				}
				c := command(dir, file)
				if err := c.Run(); err != nil && c.ProcessState == nil {
					t.Error(err) // it did not start
					return
				}
				shown[i] = filesShow(dir)
				os.RemoveAll(dir)
				os.Remove(file)
			}
		})
	}
	wait.Wait()
	return shown
}

// filesShow tells that the payload is among the files of a folder.
func filesShow(dir string) bool {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		name := strings.ToLower(f.Name())
		if strings.Contains(name, mark) && strings.HasSuffix(name, ".exe") {
			return true
		}
		data, _ := os.ReadFile(filepath.Join(dir, f.Name()))
		if at := bytes.Index(data, []byte("PK\x03\x04")); at >= 0 && at < 64 && bytes.Contains(data, []byte(mark)) {
			return true
		}
	}
	return false
}

// TestOtherReaders: what another program takes out of a message is seen here,
// or the message is held. The line about each class says how many it shows.
func TestOtherReaders(t *testing.T) {
	e := gateway(t)
	var messages []string
	var of []*one
	var got []verdict
	all := structure(attack())
	for i := range all {
		m := &all[i]
		if m.alone || m.id == "E-63" {
			continue
		}
		for _, raw := range append([]string{m.raw}, m.wrapped()...)[:2] {
			raw = crlf(raw)
			messages, of = append(messages, raw), append(of, m)
			got = append(got, m.class(decide(t, e, raw)))
		}
	}
	for _, r := range readers() {
		shown := r.shows(t, messages)
		n, missed := 0, 0
		for i := range shown {
			if !shown[i] {
				continue
			}
			n++
			if got[i] > held {
				missed++
				t.Errorf("%s shows what is %v here: %s %s", r.name, got[i], of[i].id, of[i].name)
			}
		}
		t.Logf("%s shows the payload of %d of %d messages, %d of them pass here", r.name, n, len(messages), missed)
		if n < len(messages)/10 {
			t.Errorf("%s shows hardly any: is it asked in the right way?", r.name)
		}
	}
}
