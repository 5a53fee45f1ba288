package dnsbl

import (
	"os"
	"testing"

	"garita/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}
