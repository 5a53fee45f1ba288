package relay

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"garita/mail"
)

func readOne(r io.Reader) (reply, *replyReader, error) {
	rd := &replyReader{src: r}
	rep, err := rd.read()
	return rep, rd, err
}

func TestReplyReader(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("250-x\r\n", n-1) + "250 x\r\n" }
	tests := []struct {
		name, in string
		code     int
		text     string
		fails    bool
	}{
		{"one line", "250 2.0.0 Ok\r\n", 250, "2.0.0 Ok", false},
		{"no text", "250\r\n", 250, "", false},
		{"space only", "250 \r\n", 250, "", false},
		{"many lines", "250-a\r\n250-b\r\n250 c\r\n", 250, "a\nb\nc", false},
		{"many lines, last without text", "250-a\r\n250\r\n", 250, "a\n", false},
		{"251", "251 forwarded\r\n", 251, "forwarded", false},
		{"252", "252 cannot\r\n", 252, "cannot", false},
		{"hundred lines", lines(100), 250, strings.Repeat("x\n", 99) + "x", false},
		{"too many lines", lines(101), 0, "", true},
		{"endless", strings.Repeat("250-x\r\n", 100000), 0, "", true},
		{"mixed codes", "250-a\r\n451 b\r\n", 0, "", true},
		{"mixed codes of one class", "250-a\r\n251 b\r\n", 0, "", true},
		{"first digit 1", "150 a\r\n", 0, "", true},
		{"000", "000 a\r\n", 0, "", true},
		{"999", "999 a\r\n", 0, "", true},
		{"second digit 6", "260 a\r\n", 0, "", true},
		{"two digits", "25\r\n", 0, "", true},
		{"four digits", "2500 a\r\n", 0, "", true},
		{"no separator", "250ok\r\n", 0, "", true},
		{"letters", "hello\r\n", 0, "", true},
		{"empty line", "\r\n", 0, "", true},
		{"bare LF", "250 ok\n", 0, "", true},
		{"LF alone", "\n", 0, "", true},
		{"cut: no line end", "250 ok", 0, "", true},
		{"cut: CR only", "250 ok\r", 0, "", true},
		{"cut: two digits", "25", 0, "", true},
		{"cut: after a continuation", "250-a\r\n", 0, "", true},
		{"nothing", "", 0, "", true},
		{"NUL and escape", "250 a\x00b\x1b[2J\r\n", 250, "a\x00b\x1b[2J", false},
		{"10 KB line", "250 " + strings.Repeat("x", 10<<10) + "\r\n", 250, strings.Repeat("x", maxLineKept-4), false},
		{"line as long as the buffer", "250 " + strings.Repeat("x", readBuffer-6) + "\r\n", 250, strings.Repeat("x", maxLineKept), false},
		{"CR is the buffer's last octet", "250 " + strings.Repeat("x", readBuffer-5) + "\r\n", 250, strings.Repeat("x", maxLineKept-4), false},
		{"1 MB line", "250 " + strings.Repeat("x", 1<<20) + "\r\n", 0, "", true},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "octet by octet": iotest.OneByteReader,
			"with EOF": iotest.DataErrReader,
		} {
			r, _, err := readOne(wrap(strings.NewReader(tt.in)))
			if (err != nil) != tt.fails {
				t.Errorf("%s, %s: error %v", tt.name, how, err)
				continue
			}
			if err != nil {
				continue
			}
			text := string(r.text)
			if strings.Contains(tt.name, "buffer") || strings.Contains(tt.name, "10 KB") {
				// How much of an over-long line is kept is ours to say; its head is.
				if r.code != 250 || !strings.HasPrefix(text, "xxxx") || len(text) > maxLineKept {
					t.Errorf("%s, %s: %d octets kept", tt.name, how, len(text))
				}
			} else if r.code != tt.code || text != tt.text {
				t.Errorf("%s, %s: %d %q", tt.name, how, r.code, text)
			}
		}
	}
}

func TestReplyReaderKeepsStep(t *testing.T) {
	long := "250 " + strings.Repeat("y", 9000) + "\r\n"
	rd := &replyReader{src: strings.NewReader("250 a\r\n" + long + "550-b\r\n550 c\r\n354 d\r\n")}
	for _, want := range []int{250, 250, 550, 354} {
		r, err := rd.read()
		if err != nil || r.code != want {
			t.Fatalf("%d %v, want %d", r.code, err, want)
		}
	}
	if rd.buffered() != 0 {
		t.Error("octets left over")
	}
	if _, err := rd.read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestForClient(t *testing.T) {
	tests := []struct {
		in   string
		utf8 bool
		want mail.Reply
	}{
		{"250 2.0.0 Ok: queued as ABC\r\n", false, mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as ABC"}},
		{"550 5.1.1 <a@b>: unknown\r\n", false, mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "<a@b>: unknown"}},
		{"550 no such user\r\n", false, mail.Reply{Code: 550, Enhanced: "5.0.0", Text: "no such user"}},
		{"450 5.1.1 class differs\r\n", false, mail.Reply{Code: 450, Enhanced: "4.0.0", Text: "class differs"}},
		{"550 5.1 not a code\r\n", false, mail.Reply{Code: 550, Enhanced: "5.0.0", Text: "5.1 not a code"}},
		{"550 5.1.1234 not a code\r\n", false, mail.Reply{Code: 550, Enhanced: "5.0.0", Text: "5.1.1234 not a code"}},
		{"550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third\r\n", false, mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "first second third"}},
		{"550 5.7.1 a\x1b[31m\x00\rb\tc\r\n", false, mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "a?[31m??b c"}},
		{"550 5.7.1 señor\r\n", false, mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "se?or"}},
		{"550 5.7.1 señor\u202e\xff\r\n", true, mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "señor??"}},
		{"250\r\n", false, mail.Reply{Code: 250, Enhanced: "2.0.0"}},
	}
	for _, tt := range tests {
		r, _, err := readOne(strings.NewReader(tt.in))
		if err != nil {
			t.Fatalf("%q: %v", tt.in, err)
		}
		if got := r.forClient(tt.utf8); got != tt.want {
			t.Errorf("%q: %#v", tt.in, got)
		}
	}
	r, _, _ := readOne(strings.NewReader("550 5.7.1 " + strings.Repeat("é", 5000) + "\r\n"))
	if got := r.forClient(true); len(got.Text) > maxTextShown || !utf8.ValidString(got.Text) || len(got.Text) < maxTextShown-4 {
		t.Errorf("long text: %d octets", len(got.Text))
	}
}

func TestQueueID(t *testing.T) {
	for in, want := range map[string]string{
		"2.0.0 Ok: queued as 4Xq1Ab0zZ9":                                   "4Xq1Ab0zZ9",
		"OK id=1abcDE-0001-xy":                                             "1abcDE-0001-xy",
		"2.0.0 from MTA(smtp:[127.0.0.1]:1): 250 2.0.0 Ok: queued as AB12": "AB12",
		"2.0.0 OK: queued":                                                 "",
		"queued as \x1b[2J":                                                "",
		"queued as A\x00B":                                                 "A",
		"id=" + strings.Repeat("a", 100):                                   strings.Repeat("a", 64),
	} {
		if got := queueID([]byte(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// FuzzReply: whatever a next hop says, a reply that is taken is complete,
// consistent and clean, and how it arrives in pieces changes nothing.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "250-a\r\n451 b\r\n", "250 ok", "421 4.4.2 x\r\n250 y\r\n", "250\r\n", "25", "250 \x00\xff\r\n", "550 5.1.1 x\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, rd, err := readOne(bytes.NewReader(in))
		r2, _, err2 := readOne(iotest.OneByteReader(bytes.NewReader(in)))
		if (err == nil) != (err2 == nil) || err == nil && r.code != r2.code {
			t.Fatalf("whole: %d %v, in pieces: %d %v", r.code, err, r2.code, err2)
		}
		if err != nil {
			return
		}
		if r.code < 200 || r.code > 559 {
			t.Fatalf("code %d", r.code)
		}
		if len(r.text) > maxReplyKept+maxReplyLines {
			t.Fatalf("kept %d", len(r.text))
		}
		// What was read ends in CR LF, and its last line has the code.
		if len(in) <= readBuffer {
			used := in[:len(in)-rd.buffered()]
			if !bytes.HasSuffix(used, []byte("\r\n")) {
				t.Fatalf("taken without its end: %q", used)
			}
		}
		for _, utf8OK := range []bool{false, true} {
			c := r.forClient(utf8OK)
			if len(c.Text) > maxTextShown || !utf8.ValidString(c.Text) {
				t.Fatalf("text %q", c.Text)
			}
			for _, x := range c.Text {
				if x < ' ' || x == 0x7f || x >= 0x80 && !utf8OK {
					t.Fatalf("text %q", c.Text)
				}
			}
			if c.Enhanced != "" && int(c.Enhanced[0]-'0') != c.Code/100 {
				t.Fatalf("%d %s", c.Code, c.Enhanced)
			}
		}
		queueID(r.text)
		parseEHLO(r.text)
	})
}

// TestOddYes: a yes in an odd code is a plain one for the client; 221 would be
// our farewell and 220 our greeting.
func TestOddYes(t *testing.T) {
	for code, want := range map[int]int{200: 250, 220: 250, 221: 250, 235: 250, 250: 250, 251: 251, 252: 252, 451: 451, 500: 500} {
		if got := (reply{code: code}).forClient(false); got.Code != want {
			t.Errorf("%d: %v", code, got)
		}
	}
}
