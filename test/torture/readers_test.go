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
	name  string
	every int // messages: it reads one in so many
	// shows tells of each message whether the program shows the payload.
	shows func(t *testing.T, messages []string) []bool
}

// readers are all of them; each is a package of Debian.
func readers() []reader {
	return []reader{
		{"python", 2, pythonShows},
		{"munpack", 7, func(t *testing.T, m []string) []bool {
			return eachShows(t, m, func(dir, file string) *exec.Cmd { return exec.Command("munpack", "-t", "-f", "-C", dir, file) })
		}},
		{"mime-tools", 13, perlShows},
	}
}

// pythonProgram reads messages with both policies of Python's email package.
const pythonProgram = `
import sys, json, base64, email, email.policy, email.errors
payload = base64.b64decode(sys.argv[1])
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
        if isinstance(d, bytes) and payload in d:
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
		in.WriteString(oneLine([]byte(m)) + "\n")
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

func oneLine(p []byte) string { return strings.ReplaceAll(b64(p), "\n", "") }

func pythonShows(t *testing.T, messages []string) []bool {
	return batch(t, messages, "python3", "-c", pythonProgram, oneLine(hidden()))
}

// perlProgram reads messages with MIME::Parser, as MIMEDefang and others do.
const perlProgram = `
use strict; use MIME::Parser; use MIME::Base64;
my $payload = decode_base64($ARGV[0]);
my @out;
sub walk {
  my ($e) = @_;
  my $n = eval { $e->head->recommended_filename };
  return 1 if defined $n && $n =~ /garita-payload/ && $n =~ /\.exe[ .]*$/i;
  if ($e->bodyhandle) {
    my $d = $e->bodyhandle->as_string;
    return 1 if index($d, $payload) >= 0;
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
	return batch(t, messages, "perl", "-e", perlProgram, oneLine(hidden()))
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
		if bytes.Contains(data, hidden()) {
			return true
		}
	}
	return false
}

// markedAlone are messages that another program shows the payload of and that
// are delivered here with points and a field, with the reason.
func markedAlone() map[string]string {
	return map[string]string{
		"E-42 space before star":       "Python alone takes the literal RFC 2231 value for the name",
		"E-44 quotes inside":           "Python alone joins the pieces of the broken word",
		"E-44 quotes inside, type":     "Python alone joins the pieces of the broken word",
		"E-55 70000 letters":           "no system takes a name of so many letters; the end is beyond the bound",
		"E-55 70000 letters, RFC 2231": "no system takes a name of so many letters; the end is beyond the bound",
		"E-64 bare CR":                 "a bare CR is refused on the wire",
		"E-64 x":                       "MIME-tools alone skips junk between the first line and the data",
	}
}

// TestOtherReaders: what another program takes out of a message is seen here,
// or the message is held. Programs that take their time read one in so many
// of the messages.
func TestOtherReaders(t *testing.T) {
	t.Parallel()
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
		raw := crlf(m.raw)
		messages, of = append(messages, raw), append(of, m)
		got = append(got, m.class(decide(t, e, raw)))
	}
	reviewed := markedAlone()
	for _, r := range readers() {
		var some []string
		var at []int
		for i := range messages {
			if i%r.every == 0 {
				some, at = append(some, messages[i]), append(at, i)
			}
		}
		n, missed := 0, 0
		for k, shown := range r.shows(t, some) {
			i := at[k]
			if !shown {
				continue
			}
			n++
			name, _, _ := strings.Cut(of[i].id+" "+of[i].name, ", x-")
			name, _, _ = strings.Cut(strings.TrimSuffix(name, ", no type"), ", uu")
			if got[i] > held && reviewed[name] == "" {
				missed++
				t.Errorf("%s shows what is %v here: %s %s", r.name, got[i], of[i].id, of[i].name)
			}
		}
		t.Logf("%s shows the payload of %d of %d messages, %d of them pass here", r.name, n, len(some), missed)
		if n < len(some)/10 {
			t.Errorf("%s shows hardly any: is it asked in the right way?", r.name)
		}
	}
}
