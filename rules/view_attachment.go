package rules

import (
	"bytes"
	"strings"

	"garita/filetype"
	"garita/message"
)

// Bounds of one attachment.
const (
	maxBodies = 16 // readings of its content
	maxNames  = 64
)

// readFiles tries the conditions about attachments.
func (r *run) readFiles() {
	count := int64(0)
	for n, p := range r.parts() {
		if r.ctx.Err() != nil {
			return
		}
		file := attachment(p)
		if file {
			count++
			r.mask[n/64] |= 1 << (n % 64)
		}
		for _, v := range r.s.files {
			switch v.subject {
			case AttachmentDeclared:
				// Of any part: who asks for message/partial means it anywhere.
				for _, t := range p.Types {
					r.word(v, t, filePlace(p, n))
				}
			case AttachmentName, AttachmentExtension:
				if file {
					r.names(v, p, n)
				}
			case AttachmentType:
				if file {
					r.types(v, p, n)
				}
			case AttachmentSize:
				if file {
					r.sizes(v, p, n)
				}
			}
			if file || v.subject == AttachmentDeclared {
				r.missing(v, n)
			}
		}
	}
	for _, v := range r.s.files {
		if v.subject == Attachments {
			r.number(v, count, &spot{file: -1})
		}
	}
}

func filePlace(p *message.Part, n int) *spot {
	return &spot{part: p, src: p.Source, at: p.Start, file: n}
}

// missing holds of what nothing was found of.
func (r *run) missing(v *view, n int) {
	for _, i := range v.missing {
		p := r.parts()[n]
		var there bool
		switch v.subject {
		case AttachmentName:
			there = len(namesOf(p)) > 0
		case AttachmentExtension:
			there = hasExtension(p)
		case AttachmentDeclared:
			there = len(p.Types) > 0
		default:
			there = true
		}
		if !there {
			r.note(v, i, filePlace(p, n), nil, 0, 0)
		}
	}
}

func hasExtension(p *message.Part) bool {
	for _, name := range namesOf(p) {
		if view := filetype.ReadName(name); len(view.Extensions) > 0 {
			return true
		}
	}
	return false
}

// attachment tells a part that is a file: one with a name, or marked as an
// attachment, or of no type of text. The frame of other parts is none, unless
// it has a name.
func attachment(p *message.Part) bool {
	named := p.Attachment
	for i := range p.Names {
		named = named || !p.Names[i].Weak()
	}
	if named {
		return true
	}
	frame, text := false, len(p.Types) == 0
	for _, t := range p.Types {
		switch {
		case strings.HasPrefix(t, "multipart/"):
			frame = true
		case strings.HasPrefix(t, "text/"):
			text = true
		default:
			return true
		}
	}
	return !frame && !text
}

// namesOf are the names that a part may be saved by: those that make it a file,
// or the weak ones if there are no others (attacks E-52).
func namesOf(p *message.Part) []string {
	var out []string
	for i := range p.Names {
		if n := &p.Names[i]; !n.Weak() && len(out) < maxNames {
			out = append(out, n.Text)
		}
	}
	if len(out) > 0 {
		return out
	}
	for i := range p.Names {
		if s := weakName(&p.Names[i]); s != "" && len(out) < maxNames {
			out = append(out, s)
		}
	}
	return out
}

// weakName is what of a weak name a reader could make a file name of.
func weakName(n *message.Name) string {
	s := n.Text
	switch n.From {
	case "subject":
		return ""
	case "content-id":
		s, _, _ = strings.Cut(s, "@")
	case "content-location":
		if i := strings.Index(s, "://"); i >= 0 {
			s = s[i+3:]
			slash := strings.IndexByte(s, '/')
			if slash < 0 {
				return ""
			}
			s, _, _ = strings.Cut(s[slash+1:], "?")
			s, _, _ = strings.Cut(s, "#")
		}
	}
	if len(s) >= 4 && strings.EqualFold(s[len(s)-4:], ".com") {
		return "" // a domain
	}
	return s
}

// names tries every name of an attachment, as it is written and as the one who
// clicks it is served (filetype.ReadName).
func (r *run) names(v *view, part *message.Part, n int) {
	for _, name := range namesOf(part) {
		view := filetype.ReadName(name)
		if v.subject == AttachmentExtension {
			if len(view.Extensions) > 0 {
				r.word(v, view.Extensions[0], filePlace(part, n))
			}
			continue
		}
		r.word(v, name, filePlace(part, n))
		if view.Base != name {
			r.word(v, view.Base, filePlace(part, n))
		}
	}
}

// types tries what the octets are: the name of the type, its class, its usual
// media type.
func (r *run) types(v *view, part *message.Part, n int) {
	var last []byte
	for i, b := range part.Bodies() {
		if i >= maxBodies {
			r.unread(v, n)
			return
		}
		if i > 0 && bytes.Equal(b.Data, last) {
			continue
		}
		last = b.Data
		t := filetype.Detect(b.Data)
		if t.Name != "" {
			r.word(v, t.Name, filePlace(part, n))
			for _, m := range mediaTypes(t.Name) {
				r.word(v, m, filePlace(part, n))
			}
		}
		if c := t.Class.String(); c != t.Name {
			r.word(v, c, filePlace(part, n))
		}
	}
}

// unread says that a part has more readings than are looked at.
func (r *run) unread(v *view, n int) {
	for _, i := range v.atoms {
		r.files[i].unknown[n/64] |= 1 << (n % 64)
	}
}

func (r *run) sizes(v *view, part *message.Part, n int) {
	last := -1
	for i, b := range part.Bodies() {
		if i >= maxBodies {
			r.unread(v, n)
			return
		}
		if len(b.Data) != last {
			last = len(b.Data)
			r.number(v, int64(last), filePlace(part, n))
		}
	}
}

// mediaTypes are the media types that files of a type are sent as (IANA, and
// what was in use before it was registered).
func mediaTypes(name string) []string {
	switch name {
	case "pe", "dos":
		return []string{"application/vnd.microsoft.portable-executable", "application/x-msdownload", "application/x-dosexec"}
	case "elf":
		return []string{"application/x-executable"}
	case "zip", "gz", "pdf", "rtf":
		return []string{"application/" + map[string]string{"zip": "zip", "gz": "gzip", "pdf": "pdf", "rtf": "rtf"}[name]}
	case "rar4", "rar5", "rar1":
		return []string{"application/vnd.rar", "application/x-rar-compressed"}
	case "7z":
		return []string{"application/x-7z-compressed"}
	case "tar":
		return []string{"application/x-tar"}
	case "cab":
		return []string{"application/vnd.ms-cab-compressed"}
	case "iso":
		return []string{"application/x-iso9660-image"}
	case "lnk":
		return []string{"application/x-ms-shortcut"}
	case "ps":
		return []string{"application/postscript"}
	case "html":
		return []string{"text/html"}
	case "xml":
		return []string{"text/xml", "application/xml"}
	case "svg":
		return []string{"image/svg+xml"}
	case "txt":
		return []string{"text/plain"}
	case "eml":
		return []string{"message/rfc822"}
	case "ics":
		return []string{"text/calendar"}
	case "png", "gif", "jpeg", "webp", "bmp", "tiff", "heic", "avif":
		return []string{"image/" + name}
	case "docx":
		return []string{"application/vnd.openxmlformats-officedocument.wordprocessingml.document"}
	case "xlsx":
		return []string{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
	case "pptx":
		return []string{"application/vnd.openxmlformats-officedocument.presentationml.presentation"}
	case "doc":
		return []string{"application/msword"}
	case "xls":
		return []string{"application/vnd.ms-excel"}
	case "ppt":
		return []string{"application/vnd.ms-powerpoint"}
	case "msg":
		return []string{"application/vnd.ms-outlook"}
	case "tnef":
		return []string{"application/ms-tnef"}
	case "mp3":
		return []string{"audio/mpeg"}
	case "mp4":
		return []string{"video/mp4"}
	case "wasm":
		return []string{"application/wasm"}
	}
	return nil
}
