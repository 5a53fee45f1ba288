package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the processes that the tests below start.
func TestMain(m *testing.M) {
	switch os.Getenv("GARITA_STORE_CHILD") {
	case "kill":
		killed(os.Getenv("GARITA_STORE_PATH"))
	case "open":
		_, err := Open(Config{Path: os.Getenv("GARITA_STORE_PATH")})
		fmt.Println(err)
	default:
		os.Exit(m.Run())
	}
}

// killed works until it is killed. Batches come when it says so: what it has
// printed as "batch" is on the disk, what it has printed as "now" too.
func killed(path string) {
	m, err := open(Config{Path: path}, migrations(), never)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	ctx := context.Background()
	for i := 1; ; i++ {
		m.Reserve(ctx, []Window{{Key: "counter", Span: 24 * time.Hour, Cost: 1}})
		m.Put(ctx, "last", []byte(strconv.Itoa(i)), 0)
		switch {
		case i%10 == 0:
			if err := m.Sync(ctx); err != nil {
				fmt.Println("error", err)
			}
			fmt.Println("batch", i)
		case i%7 == 0:
			key := fmt.Sprint("ban/", i)
			if err := m.PutNow(ctx, key, []byte(key), 24*time.Hour); err != nil {
				fmt.Println("error", err)
			}
			fmt.Println("now", i)
			if i%14 == 0 {
				if err := m.DeleteNow(ctx, key); err != nil {
					fmt.Println("error", err)
				}
				fmt.Println("deleted", i)
			}
		}
		fmt.Println("tried", i+1)
	}
}

// L-01: kill -9 at any moment. What PutNow has said is there, and counters have
// at least what the last batch had, and no more than was tried.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hot.db")
	rounds := 15
	sure := map[string]bool{}
	var least, most int64 // of the counter, over all rounds
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "GARITA_STORE_CHILD=kill", "GARITA_STORE_PATH="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var batch, tried int64
		fresh := map[string]bool{}
		lines := 0
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			word, number, _ := strings.Cut(sc.Text(), " ")
			n, _ := strconv.ParseInt(number, 10, 64)
			switch word {
			case "batch":
				batch = n
			case "now":
				fresh[fmt.Sprint("ban/", n)] = true
				batch = n // PutNow writes everything
			case "deleted":
				fresh[fmt.Sprint("ban/", n)] = false
			case "tried":
				tried = n
			case "error":
				t.Fatal(sc.Text())
			}
			// Then it is killed somewhere in its next lines; those that it has
			// written by then are read too.
			if lines++; lines == 20+round*13 {
				cmd.Process.Signal(syscall.SIGKILL)
			}
		}
		cmd.Wait()
		for k, v := range fresh {
			sure[k] = v
		}
		// The last line may not have come out: one more of each was possible.
		unsure := map[string]bool{fmt.Sprint("ban/", tried): true, fmt.Sprint("ban/", tried-1): true}
		least, most = least+batch, most+tried+1

		m, err := open(Config{Path: path}, migrations(), never)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for key, there := range sure {
			v, ok, _ := m.Get(t.Context(), key)
			if (ok != there || ok && string(v) != key) && !unsure[key] {
				t.Fatalf("round %d: %s: there is %v %q, want %v", round, key, ok, v, there)
			}
		}
		if got := m.used(t, "counter", 24*time.Hour); got < least || got > most {
			t.Fatalf("round %d: the counter has %d, want %d to %d", round, got, least, most)
		} else {
			least, most = got, got
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that may not be written is an error at start, and says so. Root may
// write anything, so another user tries.
func TestReadOnlyFile(t *testing.T) {
	dir, err := os.MkdirTemp("", "garita-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hot.db")
	m := openTest(t, Config{Path: path}, never)
	m.Close()
	os.Chmod(path, 0o444)
	os.Chmod(path+".lock", 0o666)
	program := filepath.Join(dir, "store.test")
	copyProgram(t, os.Args[0], program)

	cmd := exec.Command(program, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GARITA_STORE_CHILD=open", "GARITA_STORE_PATH="+path)
	cmd.Dir = dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "permission denied") || !strings.Contains(string(out), path) {
		t.Errorf("%q %q %v", out, errors.String(), err)
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
