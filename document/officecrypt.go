package document

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strconv"
	"strings"
)

// defaultPassword is what Excel tries by itself before it asks: a workbook that
// is encrypted under it opens like any other, and its macros, links and objects
// were hidden from whoever does not try it (since 2013 in spam of every week).
const defaultPassword = "VelvetSweatshop"

const (
	// spins bounds the rounds of hashing of one document, all keys together.
	// Office writes 100,000 and takes up to 10,000,000; that is the time of
	// a gateway for nothing, and no office suite writes it.
	spins = 500_000
	// standardSpins is the fixed number of standard encryption.
	standardSpins = 50_000
)

// encryptedPackage opens an OOXML package inside a compound file ([MS-OFFCRYPTO]
// 2.3.4) if it opens without asking, and inspects it; else it is Encrypted. A
// directory with several of a name has a few of them tried.
func (in *inspector) encryptedPackage(where string, c *compound) {
	const tries = 3
	var infos, packages []int
	for i := range c.entries {
		switch e := &c.entries[i]; {
		case e.kind != cfbStream:
		case strings.EqualFold(e.name, "EncryptionInfo"):
			infos = append(infos, i)
		case strings.EqualFold(e.name, "EncryptedPackage"):
			packages = append(packages, i)
		}
	}
	if len(infos)+len(packages) == 0 {
		return
	}
	for _, i := range infos[:min(len(infos), tries)] {
		if c.entries[i].size > 1<<16 || !in.open(where) {
			continue
		}
		k := in.packageKey(where, c.read(&c.entries[i]))
		for _, p := range packages[:min(len(packages), tries)] {
			if k != nil && in.openPackage(join(where, c.path(p)), c, &c.entries[p], k) {
				return
			}
		}
	}
	for _, i := range append(packages, infos...) {
		in.add(Encrypted, join(where, c.path(i)), "")
		return
	}
}

// openPackage decrypts one stream; false when no document comes out.
func (in *inspector) openPackage(where string, c *compound, e *entry, k *packageKey) bool {
	if !in.open(where) {
		return false
	}
	b := c.read(e)
	if len(b) < 8 || !in.take(where, 2*int64(len(b))) {
		return false
	}
	size := binary.LittleEndian.Uint64(b)
	b = k.decrypt(b[8:])
	b = b[:min(size, uint64(len(b)))]
	if !bytes.HasPrefix(b, []byte("PK\x03\x04")) && !bytes.HasPrefix(b, []byte(oleSignature)) {
		return false
	}
	in.unlocked(where, b)
	return true
}

// unlocked inspects what was inside, as deep as where it lay: the lock is no
// document around it.
func (in *inspector) unlocked(where string, b []byte) {
	if in.depth >= maxDepth {
		in.add(Unfinished, where, "documents inside documents")
		return
	}
	in.depth++
	defer func() { in.depth-- }()
	if bytes.HasPrefix(b, []byte(oleSignature)) {
		in.guard(where, func() { in.ole(where, b) })
		return
	}
	in.guard(where, func() { in.packaged(where, b) })
}

// packageKey reads EncryptionInfo and proves the default password.
func (in *inspector) packageKey(where string, info []byte) *packageKey {
	if len(info) < 8 {
		return nil
	}
	major, minor := binary.LittleEndian.Uint16(info), binary.LittleEndian.Uint16(info[2:])
	switch {
	case major == 4 && minor == 4:
		return in.agile(where, info[8:])
	case major >= 2 && major <= 4 && minor == 2:
		return in.standard(where, info[8:])
	}
	return nil
}

// packageKey decrypts a package.
type packageKey struct {
	block cipher.Block
	// agile has vectors for segments of 4096 octets; standard has none (ECB).
	sum  func() hash.Hash
	salt []byte
}

const segment = 4096

func (k *packageKey) decrypt(b []byte) []byte {
	b = b[:len(b)/aes.BlockSize*aes.BlockSize]
	out := make([]byte, len(b))
	if k.sum == nil {
		for i := 0; i < len(b); i += aes.BlockSize {
			k.block.Decrypt(out[i:], b[i:])
		}
		return out
	}
	for i, n := 0, uint32(0); i < len(b); i, n = i+segment, n+1 {
		h := k.sum()
		h.Write(k.salt)
		h.Write(binary.LittleEndian.AppendUint32(nil, n))
		end := min(i+segment, len(b))
		cipher.NewCBCDecrypter(k.block, sized16(h.Sum(nil), aes.BlockSize)).CryptBlocks(out[i:end], b[i:end])
	}
	return out
}

// sized16 cuts a hash to n octets, or fills it with 0x36 (2.3.4.11).
func sized16(b []byte, n int) []byte {
	for len(b) < n {
		b = append(b, 0x36)
	}
	return b[:n]
}

// spin hashes the password n times with a counter in front; nil beyond the
// bounds.
func (in *inspector) spin(where string, sum func() hash.Hash, salt []byte, n int64) []byte {
	if in.spins += n; n < 0 || in.spins > spins {
		in.unfinished(where, "rounds of a key: "+strconv.FormatInt(n, 10))
		return nil
	}
	h := sum()
	h.Write(salt)
	h.Write(wide(defaultPassword))
	k := h.Sum(nil)
	var counter [4]byte
	for i := range n {
		if i%4096 == 4095 && in.stop(where) {
			return nil
		}
		binary.LittleEndian.PutUint32(counter[:], uint32(i))
		h.Reset()
		h.Write(counter[:])
		h.Write(k)
		k = h.Sum(k[:0])
	}
	return k
}

// standard is AES in ECB under a key of SHA-1 (2.3.4.5 to 2.3.4.9).
func (in *inspector) standard(where string, b []byte) *packageKey {
	if len(b) < 4 {
		return nil
	}
	header := int64(binary.LittleEndian.Uint32(b))
	if header < 20 || header > int64(len(b)-4) {
		return nil
	}
	h, v := b[4:4+header], b[4+header:]
	bits := binary.LittleEndian.Uint32(h[16:])
	size := 16 // AlgID 0 and 0x660E
	switch binary.LittleEndian.Uint32(h[8:]) {
	case 0x660F:
		size = 24
	case 0x6610:
		size = 32
	}
	if bits != 0 && int(bits) != 8*size || len(v) < 4+16+16+4+32 || binary.LittleEndian.Uint32(v) != 16 {
		return nil
	}
	k := in.spin(where, sha1.New, v[4:20], standardSpins)
	if k == nil {
		return nil
	}
	final := sha1.Sum(append(k, 0, 0, 0, 0))
	derive := func(pad byte) [sha1.Size]byte {
		var buf [64]byte
		for i := range buf {
			buf[i] = pad
		}
		for i, c := range final {
			buf[i] ^= c
		}
		return sha1.Sum(buf[:])
	}
	x1, x2 := derive(0x36), derive(0x5C)
	block, err := aes.NewCipher(append(x1[:], x2[:]...)[:size])
	if err != nil {
		return nil
	}
	key := &packageKey{block: block}
	verifier, proof := key.decrypt(v[20:36]), key.decrypt(v[40:72])
	if want := sha1.Sum(verifier); !bytes.Equal(want[:], proof[:sha1.Size]) {
		return nil
	}
	return key
}

// agileKey are the attributes of keyData or of a password's encryptedKey.
type agileKey struct {
	sum                    func() hash.Hash
	bits                   int
	salt                   []byte
	spins                  int64
	verifier, proof, value []byte
}

func readAgile(t *xmlTag) (agileKey, bool) {
	k := agileKey{salt: unbase64(t.attr("saltValue")), verifier: unbase64(t.attr("encryptedVerifierHashInput")),
		proof: unbase64(t.attr("encryptedVerifierHashValue")), value: unbase64(t.attr("encryptedKeyValue"))}
	switch t.attr("hashAlgorithm") {
	case "SHA1", "SHA-1":
		k.sum = sha1.New
	case "SHA256", "SHA-256":
		k.sum = sha256.New
	case "SHA384", "SHA-384":
		k.sum = sha512.New384
	case "SHA512", "SHA-512":
		k.sum = sha512.New
	default:
		return k, false
	}
	k.bits, _ = strconv.Atoi(t.attr("keyBits"))
	k.spins, _ = strconv.ParseInt(t.attr("spinCount"), 10, 64)
	ok := k.bits == 128 || k.bits == 192 || k.bits == 256
	return k, ok && t.attr("cipherAlgorithm") == "AES" && t.attr("cipherChaining") == "ChainingModeCBC" && len(k.salt) > 0
}

// unbase64 reads an attribute of a key; none is long.
func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s[:min(len(s), 4096)])
	if err != nil {
		return nil
	}
	return b
}

// agile is AES in CBC with its parameters in XML (2.3.4.10 to 2.3.4.15).
func (in *inspector) agile(where string, b []byte) *packageKey {
	s := xmlScan{b: b}
	var data, password agileKey
	haveData, havePassword := false, false
	for {
		t, ok := s.next()
		if !ok {
			break
		}
		switch {
		case t.end:
		case t.name == "keyData" && !haveData:
			data, haveData = readAgile(&t)
		case t.name == "encryptedKey" && !havePassword:
			password, havePassword = readAgile(&t)
		}
	}
	if !haveData || !havePassword || len(password.verifier) == 0 || len(password.verifier)%aes.BlockSize != 0 ||
		len(password.proof)%aes.BlockSize != 0 || len(password.value)%aes.BlockSize != 0 {
		return nil
	}
	spun := in.spin(where, password.sum, password.salt, password.spins)
	if spun == nil {
		return nil
	}
	open := func(purpose string, sealed []byte) []byte {
		h := password.sum()
		h.Write(spun)
		h.Write([]byte(purpose))
		block, err := aes.NewCipher(sized16(h.Sum(nil), password.bits/8))
		if err != nil {
			return nil
		}
		out := make([]byte, len(sealed))
		cipher.NewCBCDecrypter(block, sized16(bytes.Clone(password.salt), aes.BlockSize)).CryptBlocks(out, sealed)
		return out
	}
	verifier := open("\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", password.verifier)
	proof := open("\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", password.proof)
	h := password.sum()
	h.Write(verifier[:min(len(verifier), len(password.salt))])
	want := h.Sum(nil)
	if len(proof) < len(want) || !bytes.Equal(proof[:len(want)], want) {
		return nil
	}
	value := open("\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", password.value)
	if len(value) < data.bits/8 {
		return nil
	}
	block, err := aes.NewCipher(value[:data.bits/8])
	if err != nil {
		return nil
	}
	return &packageKey{block: block, sum: data.sum, salt: data.salt}
}
