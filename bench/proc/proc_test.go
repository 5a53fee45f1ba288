package proc_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"garita/bench/proc"
)

// burn is a child that computes for a while: its time is in the tree's while
// it runs, and after it has ended.
func TestCPUCountsChildrenAliveAndEnded(t *testing.T) {
	before := proc.CPU(os.Getpid())
	cmd := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=64k")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(30 * time.Second)
	for proc.CPU(os.Getpid())-before < 100*time.Millisecond {
		if time.Now().After(end) {
			t.Fatal("the child's time is not counted while it runs")
		}
		time.Sleep(10 * time.Millisecond)
	}
	running := proc.CPU(os.Getpid())
	cmd.Process.Kill()
	cmd.Wait()
	if after := proc.CPU(os.Getpid()); after < running {
		t.Errorf("the child's time was lost with it: %s, then %s", running, after)
	}
}

func TestPSS(t *testing.T) {
	before := proc.PSS(os.Getpid())
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	if after := proc.PSS(os.Getpid()); before <= 0 || after-before < 60<<20 {
		t.Errorf("PSS was %d and is %d with 64 MB more", before, after)
	}
	if block[5] != 1 {
		t.Fatal()
	}
	if proc.CPU(1<<30) != 0 || proc.PSS(1<<30) != 0 {
		t.Error("a process that is not there costs something")
	}
}

func TestSystemCallTables(t *testing.T) {
	const table = "% time     seconds  usecs/call     calls    errors syscall\n------\n 50.00    1.384636        2468       561        17 futex\n------\n100.00    2.769295          75     36552      2524 total\n"
	if n, err := proc.StraceTotal(table); n != 36552 || err != nil {
		t.Errorf("strace: %d, %v", n, err)
	}
	if _, err := proc.StraceTotal("strace: attach: Operation not permitted\n"); err == nil {
		t.Error("no total, no error")
	}
	if n, err := proc.PerfCount("475455,,raw_syscalls:sys_enter,123,100.00,,\n"); n != 475455 || err != nil {
		t.Errorf("perf: %d, %v", n, err)
	}
	if _, err := proc.PerfCount("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"); err == nil {
		t.Error("not supported, no error")
	}
}

func TestBusy(t *testing.T) {
	if d := proc.ParseBusy("cpu  100 20 3 9999 888 7 6 5 0 0\ncpu0 1 1 1 1\n"); d != 1410*time.Millisecond {
		t.Errorf("%s", d)
	}
	if proc.Busy() < proc.CPU(os.Getpid()) {
		t.Error("the machine did less than we")
	}
}
