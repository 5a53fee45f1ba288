package hold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"garita/message"

	"golang.org/x/text/encoding/htmlindex"
)

// Preview is a look at a held message that is safe to show: text alone, HTML
// as its source, nothing fetched. All of it is still hostile text, which
// whoever prints it escapes.
type Preview struct {
	Letter
	State   State   `json:"state"`
	Damaged string  `json:"damaged,omitempty"`
	Header  []Field `json:"header"`
	// Parts are what any mail client may see in it.
	Parts    []Part   `json:"parts"`
	Defects  []string `json:"defects,omitempty"`
	TextType string   `json:"text_type,omitempty"`
	Text     string   `json:"text"`
	Cut      bool     `json:"cut,omitempty"` // there is more than is shown
}

// Field is a header field, unfolded and decoded.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Part is one part of the message.
type Part struct {
	Number string   `json:"number"`
	Types  []string `json:"types,omitempty"`
	Names  []string `json:"names,omitempty"`
	Size   int      `json:"size"` // of its body, not decoded
}

const (
	maxPreview      = 64 << 20
	maxPreviewText  = 16 << 10
	maxPreviewField = 1000
	maxPreviewList  = 200
)

// Show gives a preview.
func (k *Keeper) Show(ctx context.Context, id string) (*Preview, error) {
	f, s, err := k.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &Preview{Letter: f.Letter, State: s, Header: []Field{}, Parts: []Part{}}
	if len(p.To) > maxPreviewList {
		p.To, p.Cut = p.To[:maxPreviewList], true
	}
	k.preview.Lock()
	defer k.preview.Unlock()
	if err := f.Verify(); errors.Is(err, ErrDamaged) {
		p.Damaged = err.Error()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f.Original(), maxPreview))
	if err != nil {
		return nil, damagedBy(err, "it cannot be read")
	}
	p.Cut = p.Cut || int64(len(raw)) < f.MessageSize
	p.fill(raw)
	return p, nil
}

// fill reads the message.
func (p *Preview) fill(raw []byte) {
	head, body := splitMessage(raw)
	p.Header, p.Cut = fields(head, p.Cut)
	x := message.ReadIndex(raw, message.DefaultIndexLimits())
	var text, html []byte
	if x != nil {
		for _, d := range x.Defects {
			if len(p.Defects) < maxPreviewList {
				p.Defects = append(p.Defects, cutText(d.ID+" ("+d.Grade.String()+")", longestTitle))
			}
		}
		for _, part := range x.Parts {
			if len(p.Parts) >= maxPreviewList {
				p.Cut = true
				break
			}
			p.Parts = append(p.Parts, partOf(part))
			if part.Children {
				continue
			}
			kind := ""
			if len(part.Types) > 0 {
				kind = part.Types[0]
			}
			switch {
			case text == nil && (kind == "text/plain" || kind == "" && part.Number == "" && part.Body > 0):
				text = textOf(part)
			case html == nil && kind == "text/html":
				html = textOf(part)
			}
		}
	}
	switch {
	case len(text) > 0:
		p.TextType = "text/plain"
	case len(html) > 0:
		text, p.TextType = html, "text/html, as its source"
	default:
		text, p.TextType = body, "the body, not decoded"
	}
	if len(text) > maxPreviewText {
		text, p.Cut = text[:maxPreviewText], true
	}
	p.Text = strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\uFFFD")
}

func partOf(part *message.Part) Part {
	out := Part{Number: part.Number, Size: part.End - part.Body}
	for _, t := range part.Types[:min(len(part.Types), 4)] {
		out.Types = append(out.Types, cutText(t, longestTitle))
	}
	for _, n := range part.Names[:min(len(part.Names), 8)] {
		out.Names = append(out.Names, cutText(n.Text, longestTitle))
	}
	return out
}

// textOf is the first reading of a part, in UTF-8 as far as its charset is
// known.
func textOf(part *message.Part) []byte {
	bodies := part.Bodies()
	if len(bodies) == 0 {
		return nil
	}
	data := bodies[0].Data
	if len(data) > 4*maxPreviewText {
		data = data[:4*maxPreviewText]
	}
	if len(part.Charsets) > 0 {
		if e, err := htmlindex.Get(part.Charsets[0]); err == nil {
			if out, err := e.NewDecoder().Bytes(data); err == nil {
				return out
			}
		}
	}
	return data
}

// splitMessage parts header and body at the first empty line.
func splitMessage(raw []byte) (head, body []byte) {
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return nil, raw[2:]
	}
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		return raw[:i+2], raw[i+4:]
	}
	return raw, nil
}

// fields gives the header's fields, those of a bounded number and length.
func fields(head []byte, cut bool) ([]Field, bool) {
	out := []Field{}
	for len(head) > 0 {
		if len(out) >= maxPreviewList {
			return out, true
		}
		end := 0
		for {
			i := bytes.Index(head[end:], []byte("\r\n"))
			if i < 0 {
				end = len(head)
				break
			}
			if end += i + 2; end >= len(head) || head[end] != ' ' && head[end] != '\t' {
				break
			}
		}
		one := head[:end]
		head = head[end:]
		name, value, ok := bytes.Cut(one, []byte(":"))
		if !ok {
			continue
		}
		v := strings.Join(strings.Fields(string(value[:min(len(value), 8*maxPreviewField)])), " ")
		if v = decodeWords(v); len(v) > maxPreviewField {
			v, cut = cutText(v, maxPreviewField), true
		}
		out = append(out, Field{cutText(strings.ToValidUTF8(string(bytes.TrimSpace(name)), "\uFFFD"), 100), v})
	}
	return out, cut
}

// decodeWords reads encoded words (RFC 2047); what cannot be read stays as it
// is. The result is UTF-8.
func decodeWords(s string) string {
	d := mime.WordDecoder{CharsetReader: func(charset string, in io.Reader) (io.Reader, error) {
		e, err := htmlindex.Get(charset)
		if err != nil {
			return nil, fmt.Errorf("no charset %.40q", charset)
		}
		return e.NewDecoder().Reader(in), nil
	}}
	out, err := d.DecodeHeader(s)
	if err != nil {
		out = s
	}
	return strings.ToValidUTF8(out, "\uFFFD")
}
