//go:build linux

package message

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const killDir = "GARITA_TEST_SPOOL_DIR"

// TestSpoolAndHang is the other process of TestKillLeavesNothing.
func TestSpoolAndHang(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("runs only as the process that TestKillLeavesNothing kills")
	}
	b := NewBuilder(context.Background(), Limits{Memory: 1, Dir: dir})
	if _, err := b.Write(make([]byte, 10*chunkSize)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("spooled")
	time.Sleep(time.Minute)
}

// TestKillLeavesNothing kills a process with a spool file by SIGKILL.
func TestKillLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSpoolAndHang$", "-test.v")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	spooled := false
	for s := bufio.NewScanner(out); !spooled && s.Scan(); {
		spooled = strings.Contains(s.Text(), "spooled")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // reports the kill
	if !spooled {
		t.Fatal("the process never spooled")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("kill -9 left %v (%v)", left, err)
	}
}
