package mail

import (
	"reflect"
	"strings"
	"testing"
)

var all = Allowed{Size: true, EightBitMIME: true, SMTPUTF8: true, DSN: true, Auth: true}

func TestMailParams(t *testing.T) {
	for in, want := range map[string]Params{
		"":                          {},
		"   ":                       {},
		"SIZE=1000":                 {Size: 1000},
		"size=0":                    {},
		"SIZE=00000000000000000123": {Size: 123},
		"body=8bitmime  SMTPUTF8":   {Body: Body8BitMIME, SMTPUTF8: true},
		"BODY=7BIT":                 {Body: Body7Bit},
		"RET=hdrs ENVID=QQ+2B1+20x": {Ret: "HDRS", EnvID: "QQ+1 x"},
		"AUTH=<> SIZE=5":            {Size: 5},
		"AUTH=e+3Dmc2@example.com":  {},
		"AUTH=<x>":                  {}, // S-99: by the grammar of xtext, and ignored
	} {
		got, r := ParseMailParams(in, all)
		if r != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, r)
		}
	}
	for in, code := range map[string]int{ // S-99
		"SIZE=1 SIZE=99999999":       501,
		"SIZE=1 size=1":              501,
		"RET=FULL RET=HDRS":          501,
		"SMTPUTF8 SMTPUTF8":          501,
		"SMTPUTF8=1":                 501,
		"BODY=":                      501,
		"BODY":                       501,
		"BODY=x":                     501,
		"SIZE":                       501,
		"SIZE=-1":                    501,
		"SIZE=+1":                    501,
		"SIZE=1k":                    501,
		"SIZE=000000000000000000001": 501,
		"SIZE=99999999999999999999":  552,
		"SIZE=9223372036854775808":   552,
		"BODY=BINARYMIME":            555,
		"X=1":                        555,
		"NOTIFY=NEVER":               555,
		"=x":                         501,
		"SIZE=1=2":                   501,
		"SIZE=1\tBODY=7BIT":          501,
		"SIZE=1\r":                   501,
		"SIZE=1\x00":                 501,
		"-A=1":                       501,
		"ENVID=":                     501,
		"ENVID=a+0D+0A":              501, // S-180
		"ENVID=a+7F":                 501,
		"ENVID=a+2b":                 501,
		"ENVID=a+2":                  501,
		"ENVID=ä":                    501,
		"ENVID=" + rep("x", 101):     501,
		"RET=ALL":                    501,
		"AUTH=+0D":                   501,
		"X=" + rep("x", 2000):        501,
		rep("A ", 17):                555,
	} {
		if got, r := ParseMailParams(in, all); r == nil || r.Code != code {
			t.Errorf("%.60q: %+v, %v, want %d", in, got, r, code)
		}
	}
	for _, in := range []string{"SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=x", "AUTH=<>"} {
		if _, r := ParseMailParams(in, Allowed{}); r == nil || r.Code != 555 || r.Enhanced != "5.5.4" {
			t.Errorf("%q was not announced: %v", in, r)
		}
	}
}

func TestParamCount(t *testing.T) {
	n := 0
	r := eachParam(rep("A ", maxParamCount+1), func(string, string, bool) *Reply { n++; return nil })
	if r == nil || r.Code != 501 || n != maxParamCount {
		t.Errorf("%d parameters, %v", n, r)
	}
}

func TestRcptParams(t *testing.T) {
	for in, want := range map[string]Recipient{
		"":                                  {},
		"NOTIFY=NEVER":                      {Notify: []string{"NEVER"}},
		"notify=success,Failure,DELAY":      {Notify: []string{"SUCCESS", "FAILURE", "DELAY"}},
		"ORCPT=rfc822;a+2Bb@c NOTIFY=DELAY": {Notify: []string{"DELAY"}, OrcptType: "rfc822", Orcpt: "a+b@c"},
		"ORCPT=utf-8;ü+2B@d":                {OrcptType: "utf-8", Orcpt: `\x{00FC}+@d`},
	} {
		got, r := ParseRcptParams(in, all)
		if r != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", in, got, r)
		}
	}
	for in, code := range map[string]int{
		"NOTIFY=NEVER,DELAY":            501,
		"NOTIFY=DELAY,DELAY":            501,
		"NOTIFY=":                       501,
		"NOTIFY":                        501,
		"NOTIFY=,":                      501,
		"NOTIFY=NEVER NOTIFY=NEVER":     501,
		"ORCPT=rfc822;a+0Ab":            501, // S-180
		"ORCPT=rfc822;a+0D+0AQUIT":      501,
		"ORCPT=rfc822":                  501,
		"ORCPT=;a@b":                    501,
		"ORCPT=rfc822;":                 501,
		"ORCPT=rf(c;a@b":                501,
		"ORCPT=rfc822;ü@d":              501,
		"ORCPT=utf-8;\u202e@d":          501,
		"ORCPT=rfc822;" + rep("a", 494): 501,
		"SIZE=1":                        555,
	} {
		if got, r := ParseRcptParams(in, all); r == nil || r.Code != code {
			t.Errorf("%.60q: %+v, %v, want %d", in, got, r, code)
		}
	}
	if _, r := ParseRcptParams("NOTIFY=NEVER", Allowed{}); r == nil || r.Code != 555 {
		t.Errorf("NOTIFY without DSN: %v", r)
	}
	if _, r := ParseRcptParams("ORCPT=utf-8;ü@d", Allowed{DSN: true}); r == nil || r.Code != 501 {
		t.Errorf("raw UTF-8 without SMTPUTF8: %v", r)
	}
}

func TestParseCommands(t *testing.T) {
	p, ps, r := ParseMail(" <用户@例子.中国> SMTPUTF8 SIZE=7", all)
	if r != nil || p.Local != "用户" || !ps.SMTPUTF8 || ps.Size != 7 {
		t.Errorf("%+v %+v %v", p, ps, r)
	}
	for in, code := range map[string]int{
		"<用户@例子.中国>":         553,
		"<a@xn---> SMTPUTF8": 501,
		"<a@b> X":            555,
		"a@b":                501,
	} {
		if _, _, r := ParseMail(in, all); r == nil || r.Code != code {
			t.Errorf("%q: %v, want %d", in, r, code)
		}
	}
	if _, _, r := ParseMail("<用户@例子.中国> SMTPUTF8", Allowed{}); r == nil || r.Code != 553 {
		t.Errorf("not announced: %v", r)
	}
	rc, r := ParseRcpt("<a@b> NOTIFY=NEVER", false, all)
	if r != nil || rc.Path != (Path{"a", "b"}) || len(rc.Notify) != 1 {
		t.Errorf("%+v %v", rc, r)
	}
	if _, r := ParseRcpt("<用户@b>", false, all); r == nil || r.Code != 553 {
		t.Errorf("SMTPUTF8 announced, not asked for: %v", r)
	}
}

func TestXtext(t *testing.T) {
	for plain, enc := range map[string]string{
		"":                   "",
		"a@b":                "a@b",
		"a b+c=d":            "a+20b+2Bc+3Dd",
		"a ADDR=127.0.0.1":   "a+20ADDR+3D127.0.0.1", // S-100
		"x\r\nRSET":          "x+0D+0ARSET",
		"\x00\x7f\xff\u00fc": "+00+7F+FF+C3+BC",
	} {
		if got := EncodeXtext(plain); got != enc {
			t.Errorf("%q: %q", plain, got)
		}
	}
	for _, s := range []string{"+", "+4", "+4G", "+2b", "+0A", "+7F", "+80", "a b", "a=b", "a\x7f", "ü", "+-1"} {
		if got, ok := DecodeXtext(s); ok {
			t.Errorf("%q decodes to %q", s, got)
		}
	}
	if got, ok := DecodeXtext("a+20+2B+3Db"); !ok || got != "a +=b" {
		t.Errorf("%q %v", got, ok)
	}
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func FuzzXtext(f *testing.F) {
	for _, s := range []string{"a@b", "a+2Bb", "+0D+0A", "+", "ü", "a ADDR=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		enc := EncodeXtext(s)
		if !printable(enc) || strings.ContainsAny(enc, " =") {
			t.Fatalf("%q is written %q", s, enc)
		}
		got, ok := DecodeXtext(enc)
		if ok != printable(s) || ok && got != s {
			t.Fatalf("%q is written %q and reads %q, %v", s, enc, got, ok)
		}
		if got, ok := DecodeXtext(s); ok && !printable(got) {
			t.Fatalf("%q reads %q", s, got)
		}
	})
}

func FuzzMailParams(f *testing.F) {
	for _, s := range []string{"SIZE=1 BODY=8BITMIME SMTPUTF8", "RET=FULL ENVID=a+2Bb AUTH=<>", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c", "SIZE=1 SIZE=2", "=x", "ORCPT=utf-8;ü@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, r := ParseMailParams(s, all)
		switch {
		case r != nil && (!r.Permanent() || !printable(r.Text)):
			t.Fatalf("%q: %v", s, r)
		case r == nil && (p.Size < 0 || !printable(p.EnvID) || p.Ret != "" && p.Ret != "FULL" && p.Ret != "HDRS"):
			t.Fatalf("%q: %+v", s, p)
		}
		rc, r := ParseRcptParams(s, all)
		switch {
		case r != nil && (!r.Permanent() || !printable(r.Text)):
			t.Fatalf("%q: %v", s, r)
		case r == nil && (!printable(rc.Orcpt) || !printable(rc.OrcptType) || strings.ContainsAny(rc.OrcptType, " ;=+") || len(rc.Notify) > 3):
			t.Fatalf("%q: %+v", s, rc)
		}
	})
}
