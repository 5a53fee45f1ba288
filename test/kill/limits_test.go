package kill

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/test/harness"
)

// TestFullDisk puts the state folder on a file system of four megabytes.
func TestFullDisk(t *testing.T) {
	harness.NeedRoot(t)
	dir := filepath.Join(harness.Dir(t), "garita")
	state := filepath.Join(dir, "state")
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.NewGateway(t, harness.Options{Dir: dir, NextHop: hop.Addr, Trust: "192.0.2.0/24", Settings: []harness.Setting{
		{Table: "limits", Key: "message_memory", Value: `"64KB"`},
		{Table: "limits", Key: "free_disk", Value: `"1MB"`},
	}})
	if err := os.MkdirAll(state, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(state, syscall.MNT_DETACH) })
	g.Start()
	say := func(size int) harness.Reply {
		m := "Subject: s\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
		return harness.Greeted(t, g.Inbound).Send("a@x.example", []string{"b@our.example"}, m)
	}
	free := func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(state, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	before := free()
	if r := say(10_000); r.Code != 250 {
		t.Errorf("a small message: %s", r)
	}
	if r := say(1_000_000); r.Code != 250 {
		t.Errorf("a message that fits: %s\n%s", r, g.Log())
	}
	for range 3 {
		if r := say(8_000_000); r.Code != 452 {
			t.Errorf("a message larger than the disk: %s", r)
		}
	}
	// Something else fills the disk down to the reserve: MAIL is refused.
	if err := os.WriteFile(filepath.Join(state, "filler"), make([]byte, 3_400_000), 0o600); err != nil {
		t.Fatal(err)
	}
	// The free space is not asked for at every MAIL.
	mail := func(code int) func() bool {
		return func() bool {
			return harness.Greeted(t, g.Inbound).Say("MAIL FROM:<a@x.example>").Reply().Code == code
		}
	}
	harness.Eventually(t, "MAIL is not answered 452 below the reserve", mail(452))
	os.Remove(filepath.Join(state, "filler"))
	harness.Eventually(t, "MAIL is not answered 250 after the disk has room again", mail(250))
	if r := say(1_000_000); r.Code != 250 {
		t.Errorf("after the disk has room again: %s", r)
	}
	if left := spoolFiles(t, dir); len(left) > 0 || free() < before-64<<10 {
		t.Errorf("left behind: %v, %d octets", left, before-free())
	}
	if n := hop.Count(); n != 3 {
		t.Errorf("the next hop has %d messages, want the three that were answered 250", n)
	}
}

// calm fails the test when the gateway spins: such a loop burns two hundred
// ticks in every span of two seconds, while what a start or a log-in still has
// to do comes to an end, sooner or later.
func calm(t *testing.T, g *harness.Gateway) {
	t.Helper()
	var used int64
	for range 15 {
		before := g.CPU()
		time.Sleep(2 * time.Second)
		if used = g.CPU() - before; used <= 100 {
			return
		}
	}
	t.Errorf("%d of 200 ticks burnt while no descriptor was free", used)
}

// TestNoDescriptors takes the descriptors away by idle connections: the
// gateway neither ends nor spins, and serves again when they are gone.
func TestNoDescriptors(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24", Files: 48})
	var conns []net.Conn
	for range 120 {
		c, err := net.DialTimeout("tcp", g.Inbound, harness.Patience)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	calm(t, g)
	if g.Ended() {
		t.Fatalf("the gateway ended:\n%s", g.Log())
	}
	for _, c := range conns {
		c.Close()
	}
	harness.Eventually(t, "the gateway does not take mail again", func() bool {
		c, err := harness.Connect(t, g.Inbound)
		if err != nil {
			return false
		}
		defer c.Close()
		if c.Reply().Code != 220 || c.Say("EHLO client.example").Reply().Code != 250 {
			return false
		}
		return c.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n").Code == 250
	})
	lines := strings.Count(g.Log(), "too many open files")
	if lines > 50 {
		t.Errorf("the log says it %d times", lines)
	}
	t.Logf("%d idle connections against 48 descriptors; the log says so %d times", len(conns), lines)
}

// TestSoakThousandLargeMessages: a thousand sessions at once, each with 25
// MB, under messages_total = 512 MB. Each message is delivered or was
// answered 452 before it was sent; none is cut; the memory stays bounded.
func TestSoakThousandLargeMessages(t *testing.T) {
	sessions, size := 1000, 25_000_000
	if os.Getenv("GARITA_SOAK") == "" {
		// The same on a small scale, so that the test itself is tested.
		sessions, size = 100, 2_500_000
	}
	total := int64(512 << 20)
	if sessions < 1000 {
		total = 64 << 20
	}
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24", Plain: true, Settings: []harness.Setting{
		{Table: "limits", Key: "max_connections", Value: "3000"},
		{Table: "limits", Key: "max_connections_per_client", Value: "3000"},
		{Table: "limits", Key: "messages_total", Value: fmt.Sprintf(`"%dB"`, total)},
		{Table: "limits", Key: "messages_memory", Value: fmt.Sprintf(`"%dB"`, total/8)},
		// More than the messages that find room, so that it is the room that
		// they wait for and not the next hop.
		{Table: "next_hop.inbound", Key: "max_connections", Value: "500"},
		{Table: "listener.inbound", Key: "max_message_size", Value: fmt.Sprintf(`"%dB"`, size+1_000_000)},
		{Table: "listener.outbound", Key: "max_message_size", Value: fmt.Sprintf(`"%dB"`, size+1_000_000)},
	}})
	bound := total
	if sessions < 1000 {
		bound += 32 << 20 // the program with its rules and lists is half of so small a bound
	}
	soak(t, g, hop, sessions, size, bound)
}
