package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/ulikunitz/xz/lzma"
)

// lzipped writes each text as a member of one file.
func lzipped(t testing.TB, texts ...string) []byte {
	t.Helper()
	var all []byte
	for _, text := range texts {
		var b bytes.Buffer
		w, err := lzma.WriterConfig{DictCap: 1 << 16, Size: -1, EOSMarker: true}.NewWriter(&b)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		m := append([]byte("LZIP\x01\x10"), b.Bytes()[13:]...)
		m = binary.LittleEndian.AppendUint32(m, crc32.ChecksumIEEE([]byte(text)))
		m = binary.LittleEndian.AppendUint64(m, uint64(len(text)))
		m = binary.LittleEndian.AppendUint64(m, uint64(len(m)+8))
		all = append(all, m...)
	}
	return all
}

// What stands in the second member of an lzip file is unpacked like the first:
// parallel writers make several, and programs put them together.
func TestLzip(t *testing.T) {
	one := walk(t, lzipped(t, "hola"))
	one.mustHave(t, "", "hola")
	one.mustBeOrdinary(t)
	three := walk(t, lzipped(t, "hola ", "", "y adios"))
	three.mustHave(t, "", "hola y adios")
	three.mustBeOrdinary(t)
	b := tarred(t, "a.txt", "x", "b.js", "alert(1)")
	split := walk(t, lzipped(t, string(b[:700]), string(b[700:])))
	split.mustHave(t, "b.js", "alert(1)")
	split.mustBeOrdinary(t)
	// A size that lies: where the second member begins is not known.
	lie := lzipped(t, "hola", "adios")
	binary.LittleEndian.PutUint64(lie[len(lie)-8:], 30)
	r := walk(t, lie)
	r.mustHave(t, "", "hola")
	r.mustFlag(t, "corrupt")
	walk(t, append([]byte("LZIP\x01\x10"), make([]byte, 10)...)).mustFlag(t, "corrupt")
}

func tarred(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for i := 0; i < len(files); i += 2 {
		h := make([]byte, 512)
		copy(h, files[i])
		copy(h[100:], "0000644\x000000000\x000000000\x00")
		copy(h[124:], []byte{'0', '0', '0', '0', '0', '0', '0', '0', '0', '0' + byte(len(files[i+1])/8), '0' + byte(len(files[i+1])%8), 0})
		copy(h[136:], "00000000000\x00        0")
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		digits := "01234567"
		copy(h[148:], []byte{'0', digits[sum>>12&7], digits[sum>>9&7], digits[sum>>6&7], digits[sum>>3&7], digits[sum&7], 0, ' '})
		b.Write(h)
		body := make([]byte, (len(files[i+1])+511)/512*512)
		copy(body, files[i+1])
		b.Write(body)
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}
