package archive

import (
	"bytes"
	"slices"
)

// searchGaps looks at what the directories do not account for: members that
// they hide (ZipDiff C1, Z-03), records that no end counts, data that sizes
// deny, and mere padding.
func (z *zipFile) searchGaps() error {
	gaps := z.gaps()
	for _, g := range gaps {
		if err := z.searchLocals(g); err != nil {
			return err
		}
		if err := z.searchCentrals(g); err != nil {
			return err
		}
	}
	for _, g := range z.gaps() {
		z.judgeGap(g)
	}
	return nil
}

// searchLocals finds members by their own headers. What a header claims is
// skipped when it is streamed through, but only up to the end of the gap.
func (z *zipFile) searchLocals(g span) error {
	for at := nextLocal(z.data[:g.to], g.from); at >= 0; at = nextLocal(z.data[:g.to], at) {
		if err := z.w.tick(); err != nil {
			return err
		}
		h, ok := localAt(z.data, at)
		if !ok || z.tooMany() {
			return nil
		}
		if len(z.ends) > 0 {
			z.w.flag("zip-hidden-member", string(h.name))
		}
		m := zipMember{local: &h, from: min(h.to, int64(len(z.data)))}
		room := uint64(max(g.to-m.from, 0))
		m.to = m.from + int64(min(h.packed, room))
		if h.flags&flagDescriptor != 0 && h.packed == 0 {
			m.to = m.from + streamed(z.data[m.from:m.from+int64(room)])
		}
		z.claim(h.from, m.to)
		if b := z.data[m.to:]; h.flags&flagDescriptor != 0 && bytes.HasPrefix(b, []byte(descSign)) {
			z.claim(m.to, m.to+16)
		}
		z.members = append(z.members, m)
		// A lie about the size hides nothing: the search goes on inside.
		at = max(at+4, min(h.to, g.to))
		if h.packed <= room || h.packed == 0 {
			at = max(at, m.to)
		}
	}
	return nil
}

// streamed is how far the data of a member goes whose size only follows it:
// up to the next sign of the format.
func streamed(rest []byte) int64 {
	n := len(rest)
	for _, sign := range []string{localSign, descSign, centralSign, endSign} {
		if i := bytes.Index(rest[:n], []byte(sign)); i >= 0 {
			n = i
		}
	}
	return int64(n)
}

// searchCentrals finds directory records that no end record leads to, for the
// names in them.
func (z *zipFile) searchCentrals(g span) error {
	for at := g.from; at < g.to; {
		i := bytes.Index(z.data[at:g.to], []byte(centralSign))
		if i < 0 {
			return nil
		}
		if err := z.w.tick(); err != nil {
			return err
		}
		at += int64(i)
		h, ok := centralAt(z.data, at)
		if !ok || h.to > g.to || h.from < g.from || len(h.name) > 4096 || z.known[at] {
			at += 4
			continue
		}
		z.known[at] = true
		z.claim(at, h.to)
		at = h.to
		if z.tooMany() {
			return nil
		}
		if len(z.ends) > 0 {
			z.w.flag("zip-hidden-directory", string(h.name))
		}
		z.attach(&h)
	}
	return nil
}

// attach gives a directory record that was found by search to the member that
// it may speak of, which has only its own header yet; or makes one of it.
func (z *zipFile) attach(h *header) {
	for i := range z.members {
		m := &z.members[i]
		if m.central == nil && m.local != nil && bytes.Equal(m.local.name, h.name) {
			m.central = h
			return
		}
		if i > 4096 {
			break
		}
	}
	z.members = append(z.members, zipMember{central: h})
}

// judgeGap says what is odd in octets that nothing accounts for.
func (z *zipFile) judgeGap(g span) {
	b := z.data[g.from:g.to]
	last := int64(0)
	if len(z.ends) > 0 {
		last = z.ends[0].from
	}
	zeros := len(bytes.Trim(b, "\x00")) == 0
	switch {
	case g.from == 0:
		if !z.quiet && !bytes.Equal(b, []byte("PK00")) && !bytes.Equal(b, []byte(descSign)) {
			z.w.flag("zip-prefix", "")
		}
	case len(z.ends) == 0: // cut short: told already
	case g.from >= last:
		z.judgeTail(g, last, zeros)
	case zeros:
		z.w.flag("zip-padding", "")
	case bytes.HasSuffix(b, []byte("APK Sig Block 42")):
	case z.quiet && z.outside(g):
	default:
		z.w.flag("zip-gap", "")
		z.extend(g)
	}
}

// outside tells that all members lie behind the gap: it belongs to the file in
// front.
func (z *zipFile) outside(g span) bool {
	return !slices.ContainsFunc(z.members, func(m zipMember) bool { return m.start() < g.from })
}

// judgeTail looks at what follows the last end record: its comment, or
// octets that nobody asked for.
func (z *zipFile) judgeTail(g span, last int64, zeros bool) {
	e := &z.ends[0]
	if e.cut {
		z.w.flag("corrupt", "")
		return
	}
	b := z.data[min(max(g.from, e.to), g.to):g.to]
	switch {
	case len(b) == 0 || z.quiet:
	case int64(len(z.data))-last > reach:
		z.w.flag("zip-trailing", "")
	case zeros || len(b) <= 64 && len(bytes.Trim(b, "\x00\r\n\t \x1a")) == 0:
		z.w.flag("zip-padding", "")
	default:
		z.w.flag("zip-trailing", "")
	}
}

// extend lets the member in front of a gap be read on into it: sizes of zero
// deny data that some programs unpack (CVE-2004-1096).
func (z *zipFile) extend(g span) {
	for i := range z.members {
		if m := &z.members[i]; m.to == g.from && m.local != nil {
			m.extra = g.to
			return
		}
	}
}

// flagOverlaps tells of members that share octets (Fifield 2019).
func (z *zipFile) flagOverlaps() {
	reached := int64(-1)
	for i := range z.members {
		m := &z.members[i]
		if m.local == nil {
			continue
		}
		if m.local.from < reached {
			z.w.flag("zip-overlap", string(m.local.name))
		}
		reached = max(reached, m.to, m.local.to)
	}
}

// flagDuplicates tells of names that lead to one file (ZipDiff B).
func (z *zipFile) flagDuplicates() {
	raw, path, fold := map[string]bool{}, map[string]string{}, map[string]bool{}
	for i := range z.members {
		m := &z.members[i]
		h := m.central
		if h == nil {
			h = m.local
		}
		name := string(h.name)
		dir := len(name) > 0 && (name[len(name)-1] == '/' || name[len(name)-1] == '\\')
		p := canonical(name)
		f := lower(p)
		seen, ok := path[p]
		switch {
		case raw[name] && dir:
			z.w.flag("zip-duplicate-case", name)
		case raw[name]:
			z.w.flag("zip-duplicate", name)
		case ok && !(dir && seen == name):
			z.w.flag("zip-duplicate-path", name)
		case fold[f]:
			z.w.flag("zip-duplicate-case", name)
		}
		raw[name], path[p], fold[f] = true, name, true
	}
}
