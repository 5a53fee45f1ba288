package document

import (
	"bytes"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
)

// rc4Block is how much of a workbook's stream has one key ([MS-OFFCRYPTO] 2.3.5.2).
const rc4Block = 1024

// unlockWorkbook decrypts the records of an Excel stream that opens under the
// default password: b is all of the stream, pass the body of FILEPASS, from the
// place behind it. nil when Excel asks for another ([MS-XLS] 2.2.10).
func (in *inspector) unlockWorkbook(where string, b, pass []byte, from int) []byte {
	if !in.open(where) || !in.take(where, int64(len(b))) {
		return nil
	}
	if len(pass) == 4 {
		return xorWorkbook(b, pass, from) // BIFF5 has no kind in front
	}
	if len(pass) < 6 {
		return nil
	}
	kind, pass := binary.LittleEndian.Uint16(pass), pass[2:]
	if kind == 0 {
		return xorWorkbook(b, pass, from)
	}
	var key func(block uint32) []byte
	switch major, minor := binary.LittleEndian.Uint16(pass), binary.LittleEndian.Uint16(pass[2:]); {
	case kind != 1:
	case major == 1 && minor == 1:
		key = oldKey(pass[4:])
	case major >= 2 && major <= 4 && minor == 2 && len(pass) > 12:
		key = cryptoKey(pass[8:])
	}
	if key == nil {
		return nil
	}
	// Positions count the heads of records, which are plain: all is decrypted,
	// and what was plain is put back.
	out := bytes.Clone(b)
	for at := from / rc4Block * rc4Block; at < len(b); at += rc4Block {
		if at%(1<<20) == 0 && in.stop(where) {
			return nil
		}
		c, err := rc4.NewCipher(key(uint32(at / rc4Block)))
		if err != nil {
			return nil
		}
		end := min(at+rc4Block, len(b))
		c.XORKeyStream(out[at:end], b[at:end])
	}
	copy(out, b[:from])
	records(b, from, func(at, size, plain int) { copy(out[at-4:at+plain], b[at-4:at+plain]) })
	return out
}

// records gives the bodies of records from a place on, and how much of each is
// never encrypted.
func records(b []byte, from int, visit func(at, size, plain int)) {
	for from+4 <= len(b) {
		id, size := binary.LittleEndian.Uint16(b[from:]), int(binary.LittleEndian.Uint16(b[from+2:]))
		at := from + 4
		size = min(size, len(b)-at)
		plain := 0
		switch id {
		case 0x809, 0x2F, 0xE1, 0x138, 0x194, 0x195, 0x196: // BOF, FILEPASS, INTERFACEHDR, RRDHEAD, USREXCL, FILELOCK, RRDINFO
			plain = size
		case 0x85: // BOUNDSHEET: where its sheet begins
			plain = min(4, size)
		}
		visit(at, size, plain)
		from = at + size
	}
	if from < len(b) {
		visit(len(b), 0, 0) // what is left of a head
	}
}

// oldKey is RC4 of 40 bits and MD5 (2.3.6.2): salt, verifier and its hash.
func oldKey(v []byte) func(uint32) []byte {
	if len(v) < 48 {
		return nil
	}
	first := md5.Sum(wide(defaultPassword))
	var all []byte
	for range 16 {
		all = append(append(all, first[:5]...), v[:16]...)
	}
	second := md5.Sum(all)
	key := func(block uint32) []byte {
		k := md5.Sum(binary.LittleEndian.AppendUint32(bytes.Clone(second[:5]), block))
		return k[:]
	}
	plain := rc4Once(key(0), v[16:48])
	want := md5.Sum(plain[:16])
	if subtle.ConstantTimeCompare(want[:], plain[16:]) == 0 {
		return nil
	}
	return key
}

// cryptoKey is RC4 with SHA-1 (2.3.5.2): a header and a verifier.
func cryptoKey(b []byte) func(uint32) []byte {
	header := int64(binary.LittleEndian.Uint32(b))
	if header < 20 || header > int64(len(b)-4) {
		return nil
	}
	h, v := b[4:4+header], b[4+header:]
	size := int(binary.LittleEndian.Uint32(h[16:]) / 8)
	if size == 0 {
		size = 5
	}
	if size < 5 || size > 16 || len(v) < 4+16+16+4+20 || binary.LittleEndian.Uint32(v) != 16 {
		return nil
	}
	first := sha1.Sum(append(bytes.Clone(v[4:20]), wide(defaultPassword)...))
	key := func(block uint32) []byte {
		k := sha1.Sum(binary.LittleEndian.AppendUint32(bytes.Clone(first[:]), block))
		if size == 5 {
			return append(bytes.Clone(k[:5]), make([]byte, 11)...)
		}
		return k[:size]
	}
	plain := rc4Once(key(0), append(bytes.Clone(v[20:36]), v[40:60]...))
	want := sha1.Sum(plain[:16])
	if !bytes.Equal(want[:], plain[16:36]) {
		return nil
	}
	return key
}

func rc4Once(key, b []byte) []byte {
	out := make([]byte, len(b))
	c, err := rc4.NewCipher(key)
	if err != nil {
		return out // no proof: another password
	}
	c.XORKeyStream(out, b)
	return out
}

// xorWorkbook undoes the obfuscation of Excel 95 (2.3.7.1, 2.3.7.3): a key and
// a check of the password, of 16 bits each.
func xorWorkbook(b, pass []byte, from int) []byte {
	if binary.LittleEndian.Uint16(pass[2:]) != xorCheck(defaultPassword) {
		return nil
	}
	array := xorArray(pass[:2])
	out := bytes.Clone(b)
	records(b, from, func(at, size, plain int) {
		for i := at + plain; i < at+size; i++ {
			out[i] = bits.RotateLeft8(b[i], 3) ^ array[(i+size)%16]
		}
	})
	return out
}

// xorCheck is the check of a password.
func xorCheck(password string) uint16 {
	sum := uint16(len(password)) ^ 0xCE4B
	for i := range len(password) {
		c, n := uint16(password[i]), (i+1)%15
		sum ^= (c<<n | c>>(15-n)) & 0x7FFF
	}
	return sum
}

// xorArray spreads the password over 16 octets.
func xorArray(key []byte) (a [16]byte) {
	copy(a[:], defaultPassword+"\xBB")
	for i := range a {
		a[i] = bits.RotateLeft8(a[i]^key[i%2], 2)
	}
	return a
}
