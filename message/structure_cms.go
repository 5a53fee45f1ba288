package message

import "bytes"

// Bounds of the walk through CMS: values looked at, and depth.
const (
	maxCMSValues = 100_000
	maxCMSDepth  = 16
)

// OIDs of CMS content types (RFC 5652), as they are encoded.
const (
	oidSigned     = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	oidEnveloped  = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
	oidEncrypted  = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06"
	oidAuthEnv    = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"
	oidCompressed = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09"
)

// cms takes the entity out of opaque signed S/MIME (RFC 8551 section 3.5.2,
// attacks E-69). What is encrypted stays: there is nothing to see, and whether
// it may pass is a question of policy.
func (r *reader) cms(n *node, data []byte) {
	w := berWalk{left: maxCMSValues}
	content, kind := w.signedContent(data, r.room())
	if w.cut && kind == cmsSigned {
		r.defect(n.p, "cms-unreadable", n.p.Body, "")
	}
	switch kind {
	case cmsSigned:
		if len(content) == 0 {
			return // a detached signature, or certificates only
		}
		r.decoded += int64(len(content))
		r.entity(n, &Source{Data: content, Of: n.p, How: "cms"}, 0, len(content), Embedded, nil)
	case cmsBad:
		r.defect(n.p, "cms-unreadable", n.p.Body, "")
	}
}

type cmsKind uint8

const (
	cmsBad cmsKind = iota
	cmsSigned
	cmsSecret
)

// berWalk reads BER values (X.690), definite and indefinite, within bounds.
type berWalk struct {
	left int
	cut  bool // a value is longer than what is there
}

// ber is one value: its tag (class and number; high numbers do not occur here)
// and content; rest is what is behind it.
type ber struct {
	tag         byte
	constructed bool
	content     []byte
}

// next reads one value. For the indefinite form the content goes to its end of
// contents.
func (w *berWalk) next(b []byte, depth int) (v ber, rest []byte, ok bool) {
	if w.left--; w.left < 0 || depth > maxCMSDepth || len(b) < 2 || b[0]&0x1f == 0x1f {
		return v, nil, false
	}
	v.tag, v.constructed = b[0]&^0x20, b[0]&0x20 != 0
	n, b := int(b[1]), b[2:]
	switch {
	case n == 0x80:
		if !v.constructed {
			return v, nil, false
		}
		in := b
		for {
			if len(in) >= 2 && in[0] == 0 && in[1] == 0 {
				v.content = b[:len(b)-len(in)]
				return v, in[2:], true
			}
			if _, in, ok = w.next(in, depth+1); !ok {
				return v, nil, false
			}
		}
	case n > 0x80:
		k := n & 0x7f
		if k > 4 || k > len(b) {
			return v, nil, false
		}
		n = 0
		for _, c := range b[:k] {
			n = n<<8 | int(c)
		}
		b = b[k:]
	}
	if n > len(b) {
		// A cut value: what is there of it.
		n, w.cut = len(b), true
	}
	v.content = b[:n]
	return v, b[n:], true
}

// signedContent finds ContentInfo > SignedData > encapContentInfo > eContent.
func (w *berWalk) signedContent(data []byte, most int) ([]byte, cmsKind) {
	info, _, ok := w.next(data, 0)
	if !ok || info.tag != 0x10 {
		return nil, cmsBad
	}
	oid, rest, ok := w.next(info.content, 0)
	if !ok || oid.tag != 0x06 {
		return nil, cmsBad
	}
	switch string(oid.content) {
	case oidSigned:
	case oidEnveloped, oidEncrypted, oidAuthEnv:
		return nil, cmsSecret
	default: // oidCompressed too
		return nil, cmsBad
	}
	wrapped, _, ok := w.next(rest, 0)
	if !ok {
		return nil, cmsBad
	}
	signed, _, ok := w.next(wrapped.content, 0)
	if !ok {
		return nil, cmsBad
	}
	in := signed.content
	for range 2 { // version, digestAlgorithms
		if _, in, ok = w.next(in, 0); !ok {
			return nil, cmsBad
		}
	}
	encap, _, ok := w.next(in, 0)
	if !ok {
		return nil, cmsBad
	}
	_, in, ok = w.next(encap.content, 0)
	if !ok {
		return nil, cmsBad
	}
	if len(in) == 0 {
		return nil, cmsSigned
	}
	wrapped, _, ok = w.next(in, 0)
	if !ok {
		return nil, cmsBad
	}
	octets, _, ok := w.next(wrapped.content, 0)
	if !ok {
		return nil, cmsBad
	}
	if !octets.constructed {
		return octets.content, cmsSigned
	}
	var out bytes.Buffer
	if !w.strings(&out, octets.content, most, 1) {
		return nil, cmsBad
	}
	return out.Bytes(), cmsSigned
}

// strings joins the pieces of a constructed OCTET STRING.
func (w *berWalk) strings(out *bytes.Buffer, b []byte, most, depth int) bool {
	for len(b) > 0 {
		v, rest, ok := w.next(b, depth)
		if !ok || out.Len()+len(v.content) > most {
			return false
		}
		if v.constructed {
			if !w.strings(out, v.content, most, depth+1) {
				return false
			}
		} else {
			out.Write(v.content)
		}
		b = rest
	}
	return true
}
