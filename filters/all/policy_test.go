package all

import (
	"testing"

	"garita/filters"
	"garita/mail"
)

// TestForPolicy: the named checks alone, in list order, greylisting in a mode
// of its own.
func TestForPolicy(t *testing.T) {
	c := Default()
	checks, err := Checks(c, filters.Site{Hostname: "mx.our.example"})
	if err != nil {
		t.Fatal(err)
	}
	picked, err := c.ForPolicy(checks, []string{"greylist", "access"})
	if err != nil || len(picked) != 2 || picked[0].Name != "access" || picked[1].Name != "greylist" || picked[1].Mode != mail.Enforce {
		t.Errorf("%v %v", picked, err)
	}
	c.Greylist.PolicyMode = "off"
	if picked, _ := c.ForPolicy(checks, []string{"greylist"}); picked[0].Mode != mail.Off {
		t.Errorf("%v", picked[0].Mode)
	}
	for _, one := range checks {
		if one.Name == "greylist" && one.Mode != mail.Observe {
			t.Errorf("the wire's own mode is %v", one.Mode)
		}
	}
	if _, err := c.ForPolicy(checks, []string{"greylist", "nonesuch"}); err == nil {
		t.Error("a check that there is none of")
	}
}
