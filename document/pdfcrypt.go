package document

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"strconv"
)

// pdfKey opens the streams of a PDF that is encrypted under the empty password:
// any viewer shows it without asking, so a gateway that took it for closed would
// see less than the reader, and would hold every bank statement that only forbids
// to be changed (ISO 32000-1 7.6, ISO 32000-2 7.6).
type pdfKey struct {
	key []byte
	aes bool
	v5  bool
}

// pdfPad fills passwords (ISO 32000-1 7.6.3.3): all of it stands for none.
const pdfPad = "\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A"

// unlock tries the empty password; nil when the file asks for one, or has a
// scheme that is none of the standard's.
func (p *pdfFile) unlock(after []byte) *pdfKey {
	// The strings of the dictionary are noise in which >> may stand, so its end
	// is not looked for.
	s := pdfScan{b: after}
	var dict []byte
	if s.space(); bytes.HasPrefix(after[s.pos:], []byte("<<")) {
		dict = after[s.pos:min(len(after), s.pos+4096)]
	} else {
		ref := s.reference()
		for i := len(p.objects) - 1; i >= 0 && dict == nil && ref >= 0; i-- {
			if o := &p.objects[i]; o.num == ref {
				dict = p.data[o.from:min(o.to, o.from+4096)]
			}
		}
	}
	if dict == nil || !pdfKeys(dict, "Standard") {
		return nil
	}
	o, u := pdfBytes(dict, "O"), pdfBytes(dict, "U")
	revision := pdfNumber(dict, "R")
	k := &pdfKey{aes: pdfKeys(dict, "AESV2") || pdfKeys(dict, "AESV3"), v5: revision >= 5}
	if k.v5 {
		return k.modern(revision, u, pdfBytes(dict, "UE"))
	}
	if len(o) < 32 || len(u) < 32 {
		return nil
	}
	n := int(pdfNumber(dict, "Length") / 8)
	if pdfNumber(dict, "V") == 4 {
		n = 16
	}
	if n < 5 || n > 16 || revision < 3 {
		n = 5
	}
	return k.old(n, revision, o[:32], u[:32], pdfSigned(dict, "P"), p.fileID(), bytes.Contains(dict, []byte("/EncryptMetadata false")))
}

// old is algorithm 2 of ISO 32000-1 with the checks 4 and 5.
func (k *pdfKey) old(n int, revision int64, o, u []byte, flags int32, id []byte, bare bool) *pdfKey {
	in := append([]byte(pdfPad), o...)
	in = binary.LittleEndian.AppendUint32(in, uint32(flags))
	in = append(in, id...)
	if revision >= 4 && bare {
		in = append(in, 0xFF, 0xFF, 0xFF, 0xFF)
	}
	sum := md5.Sum(in)
	if revision >= 3 {
		for range 50 {
			sum = md5.Sum(sum[:n])
		}
	}
	k.key = bytes.Clone(sum[:n])
	check := []byte(pdfPad)
	if revision >= 3 {
		first := md5.Sum(append([]byte(pdfPad), id...))
		check = first[:]
	}
	rounds := 1
	if revision >= 3 {
		rounds = 20
	}
	for i := range rounds {
		key := bytes.Clone(k.key)
		for j := range key {
			key[j] ^= byte(i)
		}
		c, err := rc4.NewCipher(key)
		if err != nil {
			return nil
		}
		c.XORKeyStream(check, check)
	}
	if !bytes.Equal(check, u[:len(check)]) {
		return nil
	}
	return k
}

// modern is algorithm 2.A of ISO 32000-2 for the user's password.
func (k *pdfKey) modern(revision int64, u, ue []byte) *pdfKey {
	if len(u) < 48 || len(ue) < 32 {
		return nil
	}
	if !bytes.Equal(emptyHash(revision, u[32:40]), u[:32]) {
		return nil
	}
	block, err := aes.NewCipher(emptyHash(revision, u[40:48]))
	if err != nil {
		return nil
	}
	k.key = make([]byte, 32)
	cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(k.key, ue[:32])
	return k
}

// emptyHash is algorithm 2.B for the empty password.
func emptyHash(revision int64, salt []byte) []byte {
	first := sha256.Sum256(salt)
	k := first[:]
	if revision < 6 {
		return k
	}
	for i := 0; ; i++ {
		e := bytes.Repeat(k, 64)
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(block, k[16:32]).CryptBlocks(e, e)
		mod := 0
		for _, c := range e[:16] {
			mod += int(c)
		}
		switch mod % 3 {
		case 0:
			s := sha256.Sum256(e)
			k = s[:]
		case 1:
			s := sha512.Sum384(e)
			k = s[:]
		default:
			s := sha512.Sum512(e)
			k = s[:]
		}
		// The last octet is 255 at most: it ends at round 287 at the latest.
		if i >= 63 && int(e[len(e)-1]) <= i+1-32 {
			return k[:32]
		}
	}
}

// open decrypts one stream.
func (k *pdfKey) open(num int, b []byte) []byte {
	key := k.key
	if !k.v5 {
		in := append(bytes.Clone(key), byte(num), byte(num>>8), byte(num>>16), 0, 0)
		if k.aes {
			in = append(in, "sAlT"...)
		}
		sum := md5.Sum(in)
		key = sum[:min(len(key)+5, 16)]
	}
	if !k.aes {
		c, err := rc4.NewCipher(key)
		if err != nil {
			return nil
		}
		out := make([]byte, len(b))
		c.XORKeyStream(out, b)
		return out
	}
	block, err := aes.NewCipher(key)
	if err != nil || len(b) < 32 {
		return nil
	}
	iv, b := b[:16], b[16:]
	out := make([]byte, len(b)/16*16)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, b[:len(out)])
	if pad := int(out[len(out)-1]); pad <= 16 {
		out = out[:len(out)-pad]
	}
	return out
}

// fileID is the first string of the trailer's ID.
func (p *pdfFile) fileID() []byte {
	i := lastIndex(p.data, "/ID")
	if i < 0 {
		return nil
	}
	rest := bytes.TrimLeft(p.data[i+3:min(len(p.data), i+512)], " \t\r\n[")
	s := pdfScan{b: rest}
	return s.peekBytes()
}

// pdfBytes gives the string behind a key.
func pdfBytes(dict []byte, key string) []byte {
	s := pdfScan{b: dict}
	for range 4096 {
		name, ok := s.nextName()
		if !ok {
			return nil
		}
		if name == key {
			return s.peekBytes()
		}
	}
	return nil
}

// pdfSigned gives the number behind a key, which may be negative or too large for
// its 32 bits.
func pdfSigned(dict []byte, key string) int32 {
	i := bytes.Index(dict, []byte("/"+key+" "))
	if i < 0 {
		return 0
	}
	f := bytes.FieldsFunc(dict[i+len(key)+2:min(len(dict), i+40)], func(r rune) bool { return r != '-' && (r < '0' || r > '9') })
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[0]), 10, 64)
	return int32(n)
}
