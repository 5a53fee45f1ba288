package document

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/filetype"
)

const otherPassword = "secreto"

func le32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

func digest(sum func() hash.Hash, parts ...string) string {
	h := sum()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return string(h.Sum(nil))
}

// fit cuts or fills as the standard says.
func fit(s string, n int) string { return (s + strings.Repeat("6", n))[:n] }

func filled(s string) string { return s + strings.Repeat("\x00", -len(s)&15) }

// sealAgile encrypts a package as Office does since 2010.
func sealAgile(plain []byte, password, name string, sum func() hash.Hash, keyBits, spins int) []byte {
	cbc := func(key, iv, text string) string {
		c, err := aes.NewCipher([]byte(key))
		if err != nil {
			panic(err)
		}
		out := make([]byte, len(text))
		cipher.NewCBCEncrypter(c, []byte(iv)).CryptBlocks(out, []byte(text))
		return string(out)
	}
	salt, dataSalt, verifier, key := "0123456789abcdef", "fedcba9876543210", "ABCDEFGHIJKLMNOP", fit("the key of the package, long enough", keyBits/8)
	h := digest(sum, salt, string(wide(password)))
	for i := range spins {
		h = digest(sum, le32(uint32(i)), h)
	}
	field := func(purpose, text string) string {
		return base64.StdEncoding.EncodeToString([]byte(cbc(fit(digest(sum, h, purpose), keyBits/8), salt, filled(text))))
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	common := fmt.Sprintf(`saltSize="16" blockSize="16" keyBits="%d" hashSize="%d" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="%s"`, keyBits, sum().Size(), name)
	body := string(binary.LittleEndian.AppendUint64(nil, uint64(len(plain))))
	text := filled(string(plain))
	for i := 0; i < len(text); i += 4096 {
		body += cbc(key, fit(digest(sum, dataSalt, le32(uint32(i/4096))), 16), text[i:min(i+4096, len(text))])
	}
	// LibreOffice looks at the seal over it, too.
	mac := hmac.New(sum, []byte(strings.Repeat("x", sum().Size())))
	mac.Write([]byte(body))
	whole := func(purpose, text string) string {
		return b64(cbc(key, fit(digest(sum, dataSalt, purpose), 16), filled(text)))
	}
	info := "\x04\x00\x04\x00\x40\x00\x00\x00" + `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\r\n" +
		`<encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password">` +
		`<keyData ` + common + ` saltValue="` + b64(dataSalt) + `"/><dataIntegrity encryptedHmacKey="` + whole("\x5f\xb2\xad\x01\x0c\xb9\xe1\xf6", strings.Repeat("x", sum().Size())) +
		`" encryptedHmacValue="` + whole("\xa0\x67\x7f\x02\xb2\x2c\x84\x33", string(mac.Sum(nil))) + `"/>` +
		`<keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="` + fmt.Sprint(spins) + `" ` + common + ` saltValue="` + b64(salt) +
		`" encryptedVerifierHashInput="` + field("\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", verifier) + `" encryptedVerifierHashValue="` + field("\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", digest(sum, verifier)) +
		`" encryptedKeyValue="` + field("\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", key) + `"/></keyEncryptor></keyEncryptors></encryption>`
	return makeCompound(node{name: "EncryptionInfo", data: []byte(info)}, node{name: "EncryptedPackage", data: []byte(body)})
}

// sealStandard encrypts a package as Office 2007 does.
func sealStandard(plain []byte, password string, keyBits int) []byte {
	salt, verifier := "0123456789abcdef", "ABCDEFGHIJKLMNOP"
	h := digest(sha1.New, salt, string(wide(password)))
	for i := range 50000 {
		h = digest(sha1.New, le32(uint32(i)), h)
	}
	h = digest(sha1.New, h, le32(0))
	half := func(pad byte) string {
		b := bytes.Repeat([]byte{pad}, 64)
		for i := range h {
			b[i] ^= h[i]
		}
		return digest(sha1.New, string(b))
	}
	c, err := aes.NewCipher([]byte((half(0x36) + half(0x5c))[:keyBits/8]))
	if err != nil {
		panic(err)
	}
	ecb := func(text string) string {
		text = filled(text)
		out := make([]byte, len(text))
		for i := 0; i < len(text); i += 16 {
			c.Encrypt(out[i:], []byte(text[i:i+16]))
		}
		return string(out)
	}
	header := le32(0x24) + le32(0) + le32(map[int]uint32{128: 0x660E, 192: 0x660F, 256: 0x6610}[keyBits]) + le32(0x8004) + le32(uint32(keyBits)) + le32(0x18) + le32(0) + le32(0) +
		string(wide("Microsoft Enhanced RSA and AES Cryptographic Provider\x00"))
	info := "\x04\x00\x02\x00" + le32(0x24) + le32(uint32(len(header))) + header + le32(16) + salt + ecb(verifier) + le32(20) + ecb(digest(sha1.New, verifier))
	return makeCompound(node{name: "EncryptionInfo", data: []byte(info)},
		node{name: "EncryptedPackage", data: []byte(string(binary.LittleEndian.AppendUint64(nil, uint64(len(plain)))) + ecb(string(plain)))})
}

// A package that Excel opens without asking is read; one that it asks for stays
// encrypted.
func TestDefaultPassword(t *testing.T) {
	bad := makeZip("[Content_Types].xml", contentTypes, "xl/worksheets/_rels/sheet1.xml.rels", relations(relation("oleObject", "../embeddings/o.bin", "")),
		"xl/embeddings/o.bin", string(makeCompound(node{name: "x", clsid: clsidEquation3, in: []node{{name: "y", data: []byte("z")}}})), "xl/pad.bin", strings.Repeat("0123456789", 2000))
	plain := makeZip("[Content_Types].xml", contentTypes, "xl/workbook.xml", "<workbook/>")
	check(t, []example{
		{"agile, SHA-512", sealAgile(bad, defaultPassword, "SHA512", sha512.New, 256, 1000), "equation"},
		{"agile, SHA-384", sealAgile(bad, defaultPassword, "SHA384", sha512.New384, 192, 1000), "equation"},
		{"agile, SHA-256", sealAgile(bad, defaultPassword, "SHA256", sha256.New, 256, 1000), "equation"},
		{"agile, SHA-1", sealAgile(bad, defaultPassword, "SHA1", sha1.New, 128, 1000), "equation"},
		{"agile, as Office", sealAgile(plain, defaultPassword, "SHA512", sha512.New, 256, 100000), ""},
		{"agile, another password", sealAgile(bad, otherPassword, "SHA512", sha512.New, 256, 1000), "encrypted"},
		{"agile, unknown hash", sealAgile(bad, defaultPassword, "MD5", md5.New, 128, 1000), "encrypted"},
		{"standard", sealStandard(bad, defaultPassword, 128), "equation"},
		{"standard of 256", sealStandard(bad, defaultPassword, 256), "equation"},
		{"standard, another password", sealStandard(bad, otherPassword, 128), "encrypted"},
		{"no document inside", sealAgile([]byte("hola"), defaultPassword, "SHA512", sha512.New, 256, 1000), "encrypted"},
		{"twice", sealAgile(sealStandard(bad, defaultPassword, 128), defaultPassword, "SHA512", sha512.New, 256, 1000), "equation"},
	})
}

// More rounds than any office suite writes are not computed, and are said; so
// is what takes too long.
func TestManyRounds(t *testing.T) {
	b := sealAgile([]byte("x"), defaultPassword, "SHA512", sha512.New, 256, 10)
	for _, n := range []string{"90", "50", "-1"} {
		many := bytes.Replace(b, []byte(`spinCount="10" saltSize="16"`), []byte(`spinCount="`+n+`0000000"`+strings.Repeat(" ", 9-len(n))), 1)
		if bytes.Equal(b, many) || len(b) != len(many) {
			t.Fatal("not the same size")
		}
		if got := inspect(many); !has(got, Unfinished) || !has(got, Encrypted) {
			t.Errorf("%s: %v", n, ids(got))
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if got := Inspect(ctx, filetype.Type{}, b, DefaultLimits()); !has(got, Unfinished) {
		t.Errorf("no time: %v", ids(got))
	}
}

// sealWorkbook encrypts the records of a stream behind FILEPASS.
func sealWorkbook(before, pass, after string, key func(block uint32) string) []byte {
	all := []byte(before + record(0x2F, pass) + after)
	from := len(all) - len(after)
	stream := make([]byte, len(all))
	for at := 0; at < len(all); at += 1024 {
		c, err := rc4.NewCipher([]byte(key(uint32(at / 1024))))
		if err != nil {
			panic(err)
		}
		part := stream[at:min(at+1024, len(all))]
		c.XORKeyStream(part, part)
	}
	for from < len(all) {
		size := int(binary.LittleEndian.Uint16(all[from+2:]))
		skip := map[uint16]int{0x809: size, 0x85: 4}[binary.LittleEndian.Uint16(all[from:])]
		for i := from + 4 + skip; i < from+4+size; i++ {
			all[i] ^= stream[i]
		}
		from += 4 + size
	}
	return makeCompound(node{name: "Workbook", data: all})
}

func oldPass(password string) (pass string, key func(uint32) string) {
	salt, verifier := "0123456789abcdef", "ABCDEFGHIJKLMNOP"
	h := digest(md5.New, string(wide(password)))[:5]
	h = digest(md5.New, strings.Repeat(h+salt, 16))[:5]
	key = func(n uint32) string { return digest(md5.New, h, le32(n)) }
	c, _ := rc4.NewCipher([]byte(key(0)))
	out := []byte(verifier + digest(md5.New, verifier))
	c.XORKeyStream(out, out)
	return "\x01\x00\x01\x00\x01\x00" + salt + string(out), key
}

func cryptoPass(password string, keyBits uint32) (pass string, key func(uint32) string) {
	salt, verifier := "0123456789abcdef", "ABCDEFGHIJKLMNOP"
	h := digest(sha1.New, salt, string(wide(password)))
	key = func(n uint32) string {
		k := digest(sha1.New, h, le32(n))[:keyBits/8]
		if keyBits == 40 {
			k += strings.Repeat("\x00", 11)
		}
		return k
	}
	c, _ := rc4.NewCipher([]byte(key(0)))
	out := []byte(verifier + digest(sha1.New, verifier))
	c.XORKeyStream(out, out)
	header := le32(4) + le32(0) + le32(0x6801) + le32(0x8004) + le32(keyBits) + le32(1) + le32(0) + le32(0) + string(wide("Provider\x00"))
	return "\x01\x00\x02\x00\x02\x00" + le32(4) + le32(uint32(len(header))) + header + le32(16) + salt + string(out[:16]) + le32(20) + string(out[16:]), key
}

// A workbook of old that opens under the default password shows its sheets,
// names and links; without it only what is never encrypted.
func TestDefaultPasswordBIFF(t *testing.T) {
	before := record(0x809, "\x00\x06\x05\x00\xbb\x0d\xcc\x07")
	after := record(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A") + record(0x3C, strings.Repeat("x", 3000)) +
		record(0x18, "\x20\x00\x00\x01"+strings.Repeat("\x00", 11)+"\x01") + record(0x1AE, "\x01\x00\x08\x00\x00cmd\x03/c calc") + record(0x0A, "")
	const seen = "dde macro.auto macro.xlm"
	old, oldKey := oldPass(defaultPassword)
	strong, strongKey := cryptoPass(defaultPassword, 128)
	weak, weakKey := cryptoPass(defaultPassword, 40)
	closed, closedKey := oldPass(otherPassword)
	closed2, closed2Key := cryptoPass(otherPassword, 128)
	harmless := record(0x85, "\x00\x00\x00\x00\x00\x00\x01\x00A") + record(0x809, "\x00\x06\x10\x00") + record(0x0A, "")
	sheet := record(0x85, "\x00\x00\x00\x00\x02\x01\x01\x00A") + record(0x809, "\x00\x06\x40\x00\xbb\x0d\xcc\x07") + record(0x0A, "")
	check(t, []example{
		{"RC4 of 40 bits", sealWorkbook(before, old, after, oldKey), seen},
		{"RC4 of 128 bits", sealWorkbook(before, strong, after, strongKey), seen},
		{"RC4 of 40 bits with SHA-1", sealWorkbook(before, weak, after, weakKey), seen},
		{"harmless", sealWorkbook(before, old, harmless, oldKey), ""},
		{"another password", sealWorkbook(before, closed, harmless, closedKey), "encrypted"},
		{"another password, SHA-1", sealWorkbook(before, closed2, harmless, closed2Key), "encrypted"},
		{"macro sheet behind another password", sealWorkbook(before, closed, sheet, closedKey), "encrypted macro.xlm"},
		{"Excel 95", xorSealed(before, after), seen},
	})
}

// xorSealed writes what Excel 95 does.
func xorSealed(before, after string) []byte {
	pass := "\x59\xb3" + string(binary.LittleEndian.AppendUint16(nil, xorCheck(defaultPassword)))
	array := xorArray([]byte(pass[:2]))
	all := []byte(before + record(0x2F, "\x00\x00"+pass) + after)
	for from := len(all) - len(after); from < len(all); {
		size := int(binary.LittleEndian.Uint16(all[from+2:]))
		skip := map[uint16]int{0x809: size, 0x85: 4}[binary.LittleEndian.Uint16(all[from:])]
		for i := from + 4 + skip; i < from+4+size; i++ {
			all[i] = bits.RotateLeft8(all[i]^array[(i+size)%16], 5)
		}
		from += 4 + size
	}
	return makeCompound(node{name: "Workbook", data: all})
}

// Hostile lengths in FILEPASS and EncryptionInfo are another password.
func TestCryptBounds(t *testing.T) {
	old, oldKey := oldPass(defaultPassword)
	strong, strongKey := cryptoPass(defaultPassword, 128)
	for i := range max(len(old), len(strong)) {
		for _, b := range [][]byte{sealWorkbook("", old[:min(i, len(old)-1)], "", oldKey), sealWorkbook("", strong[:min(i, len(strong)-1)], "", strongKey)} {
			if got := ids(inspect(b)); !slices.Contains(got, Encrypted) || slices.Contains(got, Damaged) {
				t.Fatalf("%d octets: %v", i, got)
			}
		}
	}
	whole := sealStandard(nil, defaultPassword, 128)
	at := bytes.Index(whole, []byte("\x04\x00\x02\x00\x24\x00\x00\x00"))
	for i := 0; i < 200; i += 4 {
		b := bytes.Clone(whole)
		copy(b[at+i:], "\xff\xff\xff\xff")
		if got := inspect(b); has(got, Damaged) {
			t.Fatalf("at %d: %v", i, got)
		}
	}
}
