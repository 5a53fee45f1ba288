package relay

import (
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// TestCopyAfterPark: a recipient that a rule adds after a slow upload is asked
// for behind the replay of the others. One that is refused leaves them as they
// are; a replay that goes otherwise ends all of it.
func TestCopyAfterPark(t *testing.T) {
	for title, c := range map[string]struct {
		script script
		reply  int
		want   string
	}{
		"taken":              {nil, 250, "a@our.example copy@our.example"},
		"refused":            {script{"RCPT:copy@our.example": {{Reply: "550 5.1.1 no\r\n"}}}, 550, "a@our.example"},
		"the replay refused": {script{"RCPT:a@our.example": {{}, {Reply: "550 5.1.1 no\r\n"}}}, 451, ""},
		"it died":            {script{"RCPT:copy@our.example": {{Silent: true, Drop: true}}}, 451, ""},
	} {
		s := start(t, fakehop.Config{Script: c.script})
		h, _ := hop(t, testConfig(s.URL()))
		d := h.Begin(transaction())
		if r, _ := d.Rcpt(t.Context(), rcpt("a")); r.Code != 250 {
			t.Fatal(r)
		}
		d.Park()
		to := rcpt("copy")
		to.Notify = []string{"NEVER"}
		if r, _ := d.Rcpt(t.Context(), to); r.Code != c.reply {
			t.Errorf("%s: %s", title, r)
		}
		o := d.Data(t.Context(), text(sample))
		got := s.Accepted()
		if (o.Kind == mail.Relayed) != (c.want != "") || len(got) != len(strings.Fields(c.want))/max(len(strings.Fields(c.want)), 1) {
			t.Fatalf("%s: %+v %d", title, o, len(got))
		}
		if c.want == "" {
			continue
		}
		if to := strings.Join(got[0].To, " "); to != c.want {
			t.Errorf("%s: %q", title, to)
		}
		if n := len(got[0].ToParams); n == 2 && !strings.Contains(got[0].ToParams[1], "NOTIFY=NEVER") {
			t.Errorf("%s: %q", title, got[0].ToParams)
		}
	}
}
