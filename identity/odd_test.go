package identity

import (
	"strings"
	"testing"
)

// TestQ10Directory: a directory takes a name with soft hyphens, zero-width
// signs or spaces in it for the account; it must not be another user each time.
func TestQ10Directory(t *testing.T) {
	t.Parallel()
	n := Names{Domain: "our.example"}
	for _, s := range []string{"an\u00ada", "a\u00adn\u00ada@our.example", "ana\u200b@our.example", "\ufeffana", "a\u200dna", "an\ufe0fa", "an\x00a", "ana\u034f", "AN\u00adA+x"} {
		if got := n.Login(s); got != "ana@our.example" {
			t.Errorf("%+q is %q", s, got)
		}
	}
	odd := n.Login("maria lopez")
	for _, s := range []string{"MARIA  lopez", "maria\tlopez", " maria \u00a0 lopez ", "mar\u00adia lopez", "\uff4daria lopez"} {
		if got := n.Login(s); got != odd || !strings.HasPrefix(got, "odd/") {
			t.Errorf("%+q is %q, not %q", s, got, odd)
		}
	}
	if n.Login("marialopez") == odd || n.Login("maria lopes") == odd {
		t.Error("others are the same user")
	}
}
