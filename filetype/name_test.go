package filetype

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// E-45 to E-56: what a hostile name comes to.
func TestReadNameHostile(t *testing.T) {
	long := strings.Repeat("a", 251) + ".exe"
	for _, c := range []struct {
		id, name, ext string
		class         Class
		odd           string // sorted, space between
	}{
		{"E-45 override", "invoice_\u202efdp.exe", "exe", Executable, "bidi"},
		{"E-45 isolate", "invoice\u2066fdp.scr", "scr", Executable, "bidi"},
		{"E-45 zero width", "a\u200b.exe", "exe", Executable, "invisible"},
		{"E-45 zero width inside", "a.e\u200bxe", "exe", Executable, "invisible"},
		{"E-45 joiner inside", "a.e\u200dxe", "exe", Executable, "invisible"},
		{"E-45 soft hyphen", "a.ex\u00ade", "exe", Executable, "invisible"},
		{"E-45 byte order mark", "\ufeffa.exe", "exe", Executable, "invisible"},
		{"E-45 one dot leader", "a\u2024exe", "exe", Executable, "look-alike"},
		{"E-45 wide dot", "a\uff0eexe", "exe", Executable, "look-alike"},
		{"E-45 ideographic dot", "a\u3002exe", "exe", Executable, "look-alike"},
		{"E-45 small dot", "a\ufe52js", "js", Script, "look-alike"},
		{"E-47 double", "invoice.pdf.exe", "exe", Executable, "double-extension"},
		{"E-47 shortcut", "Factura.pdf.lnk", "lnk", Shortcut, "double-extension"},
		{"E-47 spaces", "invoice.pdf" + strings.Repeat(" ", 12) + ".exe", "exe", Executable, "double-extension spaces"},
		{"E-47 three", "a.txt.pdf.js", "js", Script, "double-extension"},
		{"E-47 long", strings.Repeat("a", 300) + ".exe", "exe", Executable, "long"},
		{"E-47 cut at 255", long + ".pdf", "exe", Executable, "cut long"},
		{"trailing dot", "a.exe.", "exe", Executable, "trailing"},
		{"trailing spaces", "a.exe  ", "exe", Executable, "trailing"},
		{"trailing slash", "a.exe/", "exe", Executable, "trailing"},
		{"trailing slash and dot", "a.exe/.", "exe", Executable, "trailing"},
		{"what no system takes", "a.exe?", "exe", Executable, "trailing"},
		{"in brackets", "<a.exe>", "exe", Executable, "trailing"},
		{"line separator", "a.exe\u2028", "exe", Executable, "trailing"},
		{"no character", "a.e\ufffdxe", "exe", Executable, "invisible"},
		{"trailing both", "a.exe. . .", "exe", Executable, "trailing"},
		{"stream", "a.exe::$DATA", "exe", Executable, "stream"},
		{"stream named", "a.exe:x:$DATA", "exe", Executable, "stream"},
		{"stream behind text", "a.txt:b.exe:$DATA", "exe", Executable, "stream"},
		{"zone", "a.exe:zone", "exe", Executable, "stream"},
		{"clsid", "a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", "clsid", Shortcut, "clsid"},
		{"clsid double", "a.pdf.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", "clsid", Shortcut, "clsid double-extension"},
		{"NUL before", "a.exe\x00.pdf", "exe", Executable, "nul"},
		{"NUL behind", "a.pdf\x00.exe", "exe", Executable, "double-extension nul"},
		{"NUL within", "a.e\x00xe", "exe", Executable, "nul"},
		{"control", "a.e\x07xe", "exe", Executable, "control"},
		{"E-50 up", `..\..\x.exe`, "exe", Executable, "path"},
		{"E-50 up, slash", "../../x.js", "js", Script, "path"},
		{"E-50 root", "/etc/cron.d/x.sh", "sh", Script, "path"},
		{"E-50 drive", `C:\x.bat`, "bat", Script, "path"},
		{"E-50 UNC", `\\host\share\x.exe`, "exe", Executable, "path"},
		{"percent", "a%2eexe", "exe", Executable, "percent"},
		{"percent letters", "a.%65xe", "exe", Executable, "percent"},
		{"percent slash", "a%2fb.exe", "exe", Executable, ""},
		{"E-56 upper", "a.EXE", "exe", Executable, ""},
		{"E-56 mixed", "a.ExE", "exe", Executable, ""},
		{"E-56 dotless", "a.p\u0131f", "pif", Executable, "look-alike"},
		{"E-56 dotted", "a.P\u0130F", "pif", Executable, "look-alike"},
		{"E-56 wide letters", "a.\uff45\uff58\uff45", "exe", Executable, "look-alike"},
		{"E-56 Kelvin", "a.\u212aix", "kix", Script, "look-alike"},
		{"no stem", ".exe", "exe", Executable, ""},
		{"library", "docs.library-ms", "library-ms", Shortcut, ""},
		{"image", "photo.jpg.iso", "iso", DiskImage, "double-extension"},
	} {
		v := ReadName(c.name)
		slices.Sort(v.Oddities)
		if len(v.Extensions) == 0 || v.Extensions[0] != c.ext || v.Type.Class != c.class || strings.Join(v.Oddities, " ") != c.odd {
			t.Errorf("%s: %q: %q, want %s %v %q", c.id, c.name, v, c.ext, c.class, c.odd)
		}
	}
}

// What people call their files is never odd.
func TestReadNameOrdinary(t *testing.T) {
	for _, name := range []string{
		"Acta Nº 3.pdf", "informe.final.v2.docx", "Presupuesto (copia) 2.xlsx", "Año_2024-ñandú.odt", "Contrato S.L.", "Contrato S.A.",
		"Factura 12/2024.pdf", "v1.2.pdf", "backup.tar.gz", "2024.05.17 acta.pdf", "Captura 10:30:22.png", "EE.UU. informe.doc",
		"100%25.pdf", "50% descuento.pdf", "会議。議事録.docx", "報告書。", "見積書．pdf", "отчёт за май.xlsx", "דוח\u200f.pdf", "می\u200cخواهم.pdf",
		"👩\u200d💻.png", "logo\ufe0f.png", "Re: pedido.eml", "Re: informe.pdf", "foto.JPG", "IMG_2024.jpeg", "smime.p7s", "signature.asc", "winmail.dat",
		"ATT00001.bin", "invite.ics", "{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}.png", "image001.png@01D9.png", "a.b.c.d.e.pdf", "Rechnung Nr. 5.pdf",
		"google.com!example.com!1700000000!1700086400.zip", "report.xml.gz", "Escrito l'Hospitalet.pdf", "¿Qué?.pdf", "naïve café.txt", "", ".", "..",
		"Curriculum Vitae - María José Núñez.pdf", "scan 1 . pdf", "notas.", "Ｆａｃｔｕｒａ.pdf", "résumé…final.pdf", "R&D.pptx", "data.csv", "foo.min.css",
	} {
		v := ReadName(name)
		if len(v.Oddities) > 0 || v.Type.Class.Runs() {
			t.Errorf("%q: %+v", name, v)
		}
		if !utf8.ValidString(v.Base) && utf8.ValidString(name) {
			t.Errorf("%q: base %q", name, v.Base)
		}
	}
	if v := ReadName("Informe.Final.PDF"); v.Base != "informe.final.pdf" || !slices.Equal(v.Extensions, []string{"pdf", "final"}) || v.Type != (Type{"pdf", Document}) {
		t.Errorf("%+v", v)
	}
}

// E-54, and Outlook's and Gmail's lists: nothing that starts something is
// unknown, in either case.
func TestByExtension(t *testing.T) {
	const runs = `exe scr com pif bat cmd vbs vbe js jse wsf wsh hta msi msp mst jar lnk url iso img vhd vhdx chm hlp cpl scf reg ps1 psm1 psd1 inf
		application appref-ms gadget msc xll wll ade adp mdb accde jnlp library-ms search-ms settingcontent-ms theme diagcab
		app asp bas cnt crx csh fxp grp hpj htc ins isp its ksh mad maf mag mam maq mar mas mat mau mav maw mcf mda mde mdt mdw mdz msh msh1 msh2 mshxml msh1xml msh2xml
		msu ops osd pcd pl plg prf prg printerexport ps1xml ps2 ps2xml psc1 psc2 py pyc pyo pyw pyz pyzw sct shb shs udl vb vbp vsmacros vsw webpnp website ws wsb wsc xbap xnk
		apk appx appxbundle appcontent-ms cdxml diagcfg diagpkg dll dmg ex ex_ lib mjs msix msixbundle nsh sys vbhd vxd vbx ocx asd`
	for _, e := range strings.Fields(runs) {
		for _, x := range []string{e, strings.ToUpper(e)} {
			if got := ByExtension(x); !got.Class.Runs() || got.Name != e {
				t.Errorf("%s: %v", x, got)
			}
		}
	}
	for list, class := range map[string]Class{
		"xlam docm dotm xlsm xltm pptm ppam sldm one docx xls iqy slk": Office,
		"cab ace arj z7 gz r00 001 z01 r99 zip 7z rar":                 Archive,
		"svg shtml mht mhtml xht xhtml html htm":                       Markup,
		"eml msg ics":                                                  Message,
		"txt csv":                                                      Text,
		"pdf rtf odt":                                                  Document,
		"p7m pgp":                                                      Sealed,
		"jpg png":                                                      Picture,
		"bin tmp dat xyz 000 2024 v2 200 " + strings.Repeat("x", longest+1): Unknown,
		"mp3 mp4": Media,
		"ttf":     Font,
	} {
		for _, e := range strings.Fields(list) {
			if got := ByExtension(e); got.Class != class {
				t.Errorf("%s: %v, want %v", e, got, class)
			}
		}
	}
}

func FuzzReadName(f *testing.F) {
	for _, s := range []string{"a.exe", "invoice_\u202efdp.exe", "a.pdf\x00.exe", "a%2eexe", "a.exe::$DATA", "a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", strings.Repeat("a.", 400), "\xff\xfe.exe", `C:\x:y`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := ReadName(s)
		if len(v.Extensions) > maxExtensions+1 || len(v.Oddities) > 14 {
			t.Fatalf("%q: %+v", s, v)
		}
		if strings.IndexByte(v.Base, 0) >= 0 {
			t.Fatalf("%q: NUL in %q", s, v.Base)
		}
		if len(v.Extensions) > 0 && v.Type.Name != "" && v.Type.Name != v.Extensions[0] {
			t.Fatalf("%q: %+v", s, v)
		}
		if slices.Contains(v.Oddities, "double-extension") && !v.Type.Class.Runs() {
			t.Fatalf("%q: %+v", s, v)
		}
		// What is known to run by the plain end of the name is never lost.
		if e := s[strings.LastIndexByte(s, '.')+1:]; len(e) < len(s) && len(s) < maxName && ByExtension(e).Class.Runs() && !v.Type.Class.Runs() {
			t.Fatalf("%q: %+v", s, v)
		}
	})
}

func BenchmarkReadName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ReadName("Informe final v2.docx")
	}
}
