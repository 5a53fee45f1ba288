package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// rf is a stored member of a RAR of our own making.
type rf struct {
	name  string
	data  []byte
	flags uint16 // RAR 4
	size  uint64 // declared, 0 as it is
	comp  uint64 // RAR 5
}

func block4(kind byte, flags uint16, body, data []byte) []byte {
	var b bytes.Buffer
	put(&b, kind, flags, uint16(7+len(body)), body)
	var o bytes.Buffer
	put(&o, uint16(crc32.ChecksumIEEE(b.Bytes())), b.Bytes(), data)
	return o.Bytes()
}

func rar4(files ...rf) []byte {
	out := cat([]byte("Rar!\x1a\x07\x00"), block4(0x73, 0, make([]byte, 6), nil))
	for _, f := range files {
		var h bytes.Buffer
		put(&h, uint32(len(f.data)), uint32(len(f.data)), byte(2), crc32.ChecksumIEEE(f.data), uint32(0), byte(29), byte(0x30),
			uint16(len(f.name)), uint32(0x20), f.name)
		out = cat(out, block4(0x74, 0x8000|f.flags, h.Bytes(), f.data))
	}
	return cat(out, block4(0x7b, 0x4000, nil, nil))
}

func vint(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func block5(body []byte) []byte {
	b := cat(vint(uint64(len(body))), body)
	return cat(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)), b)
}

func rar5(files ...rf) []byte {
	out := cat([]byte("Rar!\x1a\x07\x01\x00"), block5([]byte{1, 0, 0}))
	for _, f := range files {
		size := uint64(len(f.data))
		if f.size > 0 {
			size = f.size
		}
		body := cat([]byte{2, 2}, vint(uint64(len(f.data))), []byte{4}, vint(size), vint(0x20),
			binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(f.data)), vint(f.comp), []byte{1}, vint(uint64(len(f.name))), []byte(f.name))
		out = cat(out, block5(body), f.data)
	}
	return cat(out, block5([]byte{5, 0, 0}))
}
