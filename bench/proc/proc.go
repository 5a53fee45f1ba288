// Package proc reads what a process and all its descendants have cost: CPU
// time and memory from Linux's /proc, system calls by perf or strace.
//
// CPU time includes children that have ended and were waited for, so that a
// server of many processes is counted fully. What cannot be read counts as
// nothing; a tree whose root is gone reads as zero.
package proc

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc: Linux shows it in hundredths of a
// second on every architecture that Go runs on.
const tick = 10 * time.Millisecond

type stat struct {
	pid, parent int
	cpu         time.Duration
}

// parseStat reads a line of /proc/PID/stat. The name in it is in brackets and
// may hold anything, brackets too.
func parseStat(line string) (stat, bool) {
	i := strings.LastIndexByte(line, ')')
	pid, _, _ := strings.Cut(line, " ")
	if i < 0 {
		return stat{}, false
	}
	f := strings.Fields(line[i+1:])
	if len(f) < 15 {
		return stat{}, false
	}
	n := func(s string) int { v, _ := strconv.Atoi(s); return v }
	ticks := n(f[11]) + n(f[12]) + n(f[13]) + n(f[14])
	return stat{pid: n(pid), parent: n(f[1]), cpu: time.Duration(ticks) * tick}, true
}

// tree gives the root and its descendants.
func tree(root int) []stat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	all := map[int]stat{}
	children := map[int][]int{}
	for _, e := range entries {
		if e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if s, ok := parseStat(string(b)); ok {
			all[s.pid] = s
			children[s.parent] = append(children[s.parent], s.pid)
		}
	}
	var out []stat
	next := []int{root}
	for len(next) > 0 {
		if s, ok := all[next[0]]; ok {
			out = append(out, s)
			next = append(next, children[next[0]]...)
		}
		next = next[1:]
	}
	return out
}

// CPU is the time that a tree has spent so far, user and system.
func CPU(root int) time.Duration {
	var sum time.Duration
	for _, s := range tree(root) {
		sum += s.cpu
	}
	return sum
}

// PSS is the memory of a tree in bytes, shared pages divided by their users.
func PSS(root int) int64 {
	var sum int64
	for _, s := range tree(root) {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
		if err != nil {
			continue
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			var kb int64
			if _, err := fmt.Sscanf(in.Text(), "Pss: %d kB", &kb); err == nil {
				sum += kb << 10
				break
			}
		}
		f.Close()
	}
	return sum
}

// Busy is the CPU time that the whole machine has spent on programs so far,
// all processors together.
func Busy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(b))
}

// parseBusy reads "cpu  user nice system idle iowait irq softirq steal …": all
// but idle and iowait; steal is what other virtual machines took.
func parseBusy(text string) time.Duration {
	line, _, _ := strings.Cut(text, "\n")
	var ticks int
	for i, f := range strings.Fields(line) {
		if i >= 1 && i <= 8 && i != 4 && i != 5 {
			v, _ := strconv.Atoi(f)
			ticks += v
		}
	}
	return time.Duration(ticks) * tick
}
