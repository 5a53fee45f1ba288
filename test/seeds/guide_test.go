package seeds

// row is one pattern of the guide: the facts of it, what we have instead, what
// it means and what only looks like it.
type row struct {
	table   string // of the guide
	line    int    // in that table
	pattern string
	rules   string // IDs of ours, one of which must hit
	// What the pattern means: names of attachments, sentences, tags, header
	// fields, lines of the body.
	names, texts, tags []string
	headers            [][2]string
	lines              []string
	// near are names, texts, subjects and pages that must not hit.
	nearNames, nearTexts, nearSubjects, nearPages []string
	// caught is in how many of the letters Postfix finds this pattern.
	caught int
}

const (
	antiVirus = "anti_virus"      // body_checks, regexp
	pcre      = "pcre_anti_virus" // body_checks, pcre
	cabeceras = "cabeceras"       // header_checks, pcre
)

// guide is section 7.4 of the Guia rapida de Postfix 0.9, pattern by pattern.
// Comments and blank lines of its tables are the missing numbers.
func guide() []row {
	return append(append(guideNames(), guideTexts()...), guideTables()...)
}

func guideNames() []row {
	return []row{
		{table: antiVirus, line: 2, pattern: `/(filename|name)="(Happy99|Navidad|prettypark)\.exe"/`,
			rules: "virus-happy99 virus-navidad virus-prettypark", names: []string{"Happy99.exe", "Navidad.exe", "prettypark.exe"},
			nearNames: []string{"Happy99.pdf", "Feliz Navidad.pdf", "prettypark.exe.txt"}, nearTexts: []string{`name="Happy99.exe"`}},
		{table: antiVirus, line: 3, pattern: `/(filename|name)="(pretty park|zipped_files|flcss)\.exe"/`,
			rules: "virus-prettypark virus-explorezip virus-funlove", names: []string{"pretty park.exe", "zipped_files.exe", "flcss.exe"},
			nearNames: []string{"pretty park.jpg", "zipped_files.zip", "fl.css"}},
		{table: antiVirus, line: 4, pattern: `/(filename|name)="(Msinit|wininit|msi216)\.exe"/`,
			rules: "virus-bymer", names: []string{"Msinit.exe", "wininit.exe", "msi216.exe"}, nearNames: []string{"wininit.log", "msi216.pdf"}},
		{table: antiVirus, line: 5, pattern: `/(filename|name)="(Avp_updates|Qi_test|Anti_cih)\.exe"/`,
			rules: "virus-mtx", names: []string{"Avp_updates.exe", "Qi_test.exe", "Anti_cih.exe"}, nearNames: []string{"Avp_updates.txt", "Qi_test.csv"}},
		{table: antiVirus, line: 6, pattern: `/(filename|name)="(Emanuel|kmbfejkm|NakedWife)\.exe"/`,
			rules: "virus-navidad virus-hybris-name virus-nakedwife", names: []string{"Emanuel.exe", "kmbfejkm.exe", "NakedWife.exe"},
			nearNames: []string{"Emanuel.vcf", "kmbfejkm.png"}},
		{table: antiVirus, line: 7, pattern: `/(filename|name)="(Seicho_no_ie|JAMGCJJA|Sulfnbk|decrypt-password)\.exe"/`,
			rules: "virus-mtx virus-hybris-name virus-sulfnbk virus-frethem-name",
			names: []string{"Seicho_no_ie.exe", "JAMGCJJA.exe", "Sulfnbk.exe", "decrypt-password.exe"}, nearNames: []string{"decrypt-password.txt", "Seicho no ie.pdf"}},
		{table: antiVirus, line: 8, pattern: `/(kak|day)\.(reg|hta)/`, caught: 4, rules: "virus-kak",
			names: []string{"kak.hta", "kak.reg", "day.hta", "day.reg"}, nearNames: []string{"day.regular.pdf", "birthday.txt"}, nearTexts: []string{"Birthday.regards, Ana", "holiday.region"}},
		{table: antiVirus, line: 17, pattern: `/(filename|name)=".*\.(asd|chm|dll|hlp|hta|js|ocx|pif)"/`,
			rules:     "ext-asd ext-help ext-program ext-hta ext-script",
			names:     []string{"carta.asd", "manual.chm", "a b.dll", "manual.hlp", "factura.hta", "factura.js", "control.ocx", "virus.pif"},
			nearNames: []string{"carta.asc", "main.js.map", "datos.json", "pif.pdf", "dll.txt"}, nearTexts: []string{`La etiqueta name="x.js" sobra.`}},
		{table: antiVirus, line: 18, pattern: `/(filename|name)=".*\.(scr|shb|shs|vb|vbe|vbs|wsf|wsh)"/`,
			rules: "ext-program ext-scrap ext-script",
			names: []string{"foto.scr", "carta.shb", "carta.shs", "a.vb", "a.vbe", "malo.vbs", "a.wsf", "a.wsh"}, nearNames: []string{"notes.vb.txt", "screen.png", "vbs.pdf"}},
		{table: antiVirus, line: 21, pattern: `/(filename|name)=".*\.\{.*\}"/`, rules: "name-class-id",
			names:     []string{"factura.txt.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", "a.{00020812-0000-0000-c000-000000000046}"},
			nearNames: []string{"informe.{borrador}.pdf", "{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}.pdf", "plan {2024}.odt"}},
		{table: pcre, line: 2, pattern: `/^\s+(file)?name="?.+?\.(bat|chm|cmd|com|hta|jse?|pif|scr|shb|vb[esx]|ws[fh])\b/`,
			rules:     "ext-script ext-help ext-com ext-hta ext-program ext-scrap",
			names:     []string{"a.bat", "a.chm", "a.cmd", "command.com", "a.hta", "a.js", "a.jse", "a.pif", "a.scr", "a.shb", "a.vbe", "a.vbs", "a.vbx", "a.wsf", "a.wsh"},
			nearNames: []string{"report.com.pdf", "www.tienda.com.html", "combat.pdf", "a.js.map"}, nearTexts: []string{` name="x.vbs" texto normal`, ` name=www.tienda.com`}},
	}
}

func guideTexts() []row {
	return []row{
		{table: antiVirus, line: 9, pattern: `/Rem I am sorry.*/`, caught: 10, rules: "phrase-rem-sorry", texts: []string{"Rem I am sorry for this"},
			nearTexts: []string{"About the theorem I am sorry: it is wrong.", "I am sorry"}},
		{table: antiVirus, line: 10, pattern: `/Te mando este archivo para que me des tu punto de vista/`, caught: 10, rules: "phrase-sircam",
			texts: []string{"Te mando este archivo para que me des tu punto de vista"}, nearTexts: []string{"Te mando este archivo para que me digas algo"}},
		{table: antiVirus, line: 11, pattern: `/I send you this file in order to have your advice/`, caught: 10, rules: "phrase-sircam",
			texts: []string{"I send you this file in order to have your advice"}, nearTexts: []string{"I send you this file to have your advice"}},
		{table: antiVirus, line: 12, pattern: `/Espero me puedas ayudar con el archivo que te mando/`, caught: 10, rules: "phrase-sircam",
			texts: []string{"Espero me puedas ayudar con el archivo que te mando"}, nearTexts: []string{"Espero que me puedas ayudar con esto"}},
		{table: antiVirus, line: 13, pattern: `/Espero te guste este archivo que te mando/`, caught: 10, rules: "phrase-sircam",
			texts: []string{"Espero te guste este archivo que te mando"}, nearTexts: []string{"Espero te guste este archivo"}},
		{table: antiVirus, line: 14, pattern: `/Este es el archivo con la información que me pediste/`, caught: 4, rules: "phrase-sircam",
			texts: []string{"Este es el archivo con la información que me pediste"}, nearTexts: []string{"Este es el archivo con las fotos que me pediste"}},
	}
}

func guideTables() []row {
	return []row{
		{table: antiVirus, line: 24, pattern: `/(\<IFrame\ src\=\"|\<IFRAME\ src\=\"|\<IFRAME\ SRC\=\")/`, caught: 6, rules: "html-iframe",
			tags:      []string{`<IFrame src="http://sender.example/a">`, `<IFRAME src="http://sender.example/a">`, `<IFRAME SRC="cid:a">`},
			nearTexts: []string{"Hola, Ana:\n\nEn la plantilla del boletín sobra la etiqueta\n<IFRAME SRC=\"cid:a\">\ny la otra también."}, nearPages: []string{`<p>&lt;IFRAME SRC="x"&gt;</p>`, "<!-- <iframe src=x> -->", `<img alt="a <iframe" src="a.png">`}},
		{table: pcre, line: 1, pattern: `/^begin\s+\d{3}\s+.+?\.(bat|chm|cmd|com|hta|jse?|pif|scr|shb|vb[esx]|ws[fh])\b/`, caught: 5, rules: "uuencoded-program",
			lines:     []string{"begin 644 virus.pif", "begin  755 a b.vbs", "begin 644 COMMAND.COM", "begin 644 x.jse", "begin 600 x.vbx"},
			nearTexts: []string{"> begin 644 virus.pif", "begin 644 acta.pdf", "begin 644 command.com.txt", "We begin 644 virus.pif"}},
		{table: cabeceras, line: 1, pattern: `/^From: Hahaha <hahaha@sexyfun.net>$/`, caught: 2, rules: "letter-hybris-sender",
			headers: [][2]string{{"From", "Hahaha <hahaha@sexyfun.net>"}}, nearSubjects: []string{"Hahaha hahaha@sexyfun.net"}},
		{table: cabeceras, line: 2, pattern: `/^Subject: Enanito si, pero con que pedazo!$/`, caught: 2, rules: "letter-hybris-subject",
			headers: [][2]string{{"Subject", "Enanito si, pero con que pedazo!"}}, nearSubjects: []string{"Aviso: Enanito si, pero con que pedazo!", "Enanito si"}},
		{table: cabeceras, line: 3, pattern: `/^Subject: Re: Your password!$/`, caught: 2, rules: "letter-frethem-subject",
			headers: [][2]string{{"Subject", "Re: Your password!"}}, nearSubjects: []string{"Your password!", "Re: Your password"}},
	}
}
