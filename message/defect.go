package message

import (
	"cmp"
	"strings"

	"garita/message/field"
	"garita/message/transfer"
)

// DefectInfo explains one defect for the administrator.
type DefectInfo struct {
	ID      string
	Grade   Grade
	Meaning string
}

// KnownDefects gives all defects of the structure, by grade and name. Those of
// encodings and parameters come besides: their IDs belong to the packages
// transfer and field.
func KnownDefects() []DefectInfo {
	return append([]DefectInfo(nil), defectTable[:]...)
}

// defectTable has all defects of the structure. One ID has one grade, so that a
// policy can be written for it.
var defectTable = [...]DefectInfo{
	{"boundary-extends-another", Odd, "the boundary of a multipart is the beginning of another one's around or inside it"},
	{"eight-bit-header", Odd, "a header holds octets that are neither ASCII nor UTF-8"},
	{"empty-multipart", Odd, "a multipart has no content at all"},
	{"encoded-message", Odd, "an enclosed message is encoded, which RFC 2046 forbids; it was decoded and looked into"},
	{"encoding-on-composite", Odd, "a multipart or message declares an encoding that it does not have"},
	{"junk-in-header", Odd, "a line in a header is no field; nothing behind it says how to read the part"},
	{"long-boundary", Odd, "a boundary is longer than the 70 characters of RFC 2046"},
	{"mbox-line", Odd, "the message begins with the From line of a mailbox file"},
	{"no-closing-boundary", Odd, "a multipart has no closing boundary; its last part ends with it"},
	{"no-mime-version", Odd, "the header has MIME fields and no MIME-Version"},
	{"part-without-header-end", Odd, "a part ends before the empty line that ends its header"},
	{"repeated-end", Odd, "the closing boundary of a multipart comes twice with nothing between"},
	{"repeated-field", Odd, "a MIME field comes several times with the same value"},
	{"unused-boundary", Odd, "a part that is no multipart declares a boundary that does not occur"},
	{"boundary-guessed", Ambiguous, "a multipart has no usable boundary; one was guessed from its lines, as some readers do"},
	{"boundary-not-found", Ambiguous, "the declared boundary of a multipart does not occur in it"},
	{"boundary-on-leaf", Ambiguous, "a part that is no multipart declares a boundary, and its lines are there"},
	{"boundary-too-long", Ambiguous, "a boundary is so long that readers cut it"},
	{"boundary-variant", Ambiguous, "the parts stand between lines that match the boundary in an unusual reading only"},
	{"conflicting-boundary", Ambiguous, "several different boundaries are declared for one multipart"},
	{"conflicting-content-disposition", Ambiguous, "several different Content-Disposition fields"},
	{"conflicting-content-transfer-encoding", Ambiguous, "several different Content-Transfer-Encoding fields or values"},
	{"conflicting-content-type", Ambiguous, "several different Content-Type fields or values"},
	{"damaged-field-name", Ambiguous, "the name of a MIME field has white space, control characters or colons too many"},
	{"delimiter-in-header", Ambiguous, "a boundary stands inside the header of a part"},
	{"delimiter-junk", Ambiguous, "a line begins with the boundary and goes on with something else, or ends with a bare CR"},
	{"encoded-multipart", Ambiguous, "a multipart has parts only, or others, once its declared encoding is taken off"},
	{"encoded-message-two-ways", Ambiguous, "an enclosed message is one both as it is and decoded"},
	{"field-without-colon", Ambiguous, "a MIME field has no colon"},
	{"header-cut", Ambiguous, "a line that is no field stands before MIME fields, or between an encoding and its body: some readers end the header there"},
	{"header-end-unclear", Ambiguous, "a header may end at a line of white space, at a bare CR, or begin behind an empty line"},
	{"hidden-field", Ambiguous, "a MIME field is hidden in a folded line or behind a bare CR"},
	{"inner-beyond-outer", Ambiguous, "an unclosed inner multipart goes on behind the boundary of the outer one"},
	{"malformed-type", Ambiguous, "a media type is none, and the part has the lines of a multipart"},
	{"misspelt-multipart", Ambiguous, "a media type resembles multipart, and parts were found"},
	{"nested-same-boundary", Ambiguous, "a multipart uses the boundary of another one around it"},
	{"part-outside-boundaries", Ambiguous, "something with a MIME header stands before the first or behind the last boundary"},
	{"parts-after-end", Ambiguous, "parts stand behind the closing boundary"},
	{"several-boundaries", Ambiguous, "the lines of several possible boundaries give different parts"},
	{"cms-unreadable", Opaque, "an S/MIME message could not be taken apart, or is compressed"},
	{"external-body", Opaque, "the content is elsewhere and is fetched by the reader (message/external-body)"},
	{"message-partial", Opaque, "a fragment of a message that only the reader puts together (message/partial)"},
	{"unknown-encoding", Opaque, "the transfer encoding is unknown; the content was looked at as it is"},
	{"header-too-large", Unfinished, "a header is larger than is read"},
	{"too-deep", Unfinished, "parts are nested too deep; what is inside was not taken apart"},
	{"too-many-boundaries", Unfinished, "too many possible boundaries for one multipart"},
	{"too-many-delimiters", Unfinished, "more lines that begin with two dashes than are compared"},
	{"too-many-fields", Unfinished, "more header fields than are read"},
	{"too-many-names", Unfinished, "more candidate names than are kept"},
	{"too-many-parts", Unfinished, "more parts than are indexed; the rest is one raw part"},
	{"too-many-views", Unfinished, "more readings than are followed"},
	{"too-much-decoded", Unfinished, "the decoded bodies are larger than is decoded"},
	{"too-much-work", Unfinished, "reading the message in every way takes too much work"},
}

// Meaning explains a defect's ID in a sentence for the administrator, those of
// fields and of transfer encodings too; empty for an ID that there is not.
func Meaning(id string) string {
	for i := range defectTable {
		if defectTable[i].ID == id {
			return defectTable[i].Meaning
		}
	}
	return cmp.Or(field.Meaning(id), transfer.Meaning(id))
}

// gradeOf gives the grade of one of our own IDs.
func gradeOf(id string) Grade {
	for i := range defectTable {
		if defectTable[i].ID == id {
			return defectTable[i].Grade
		}
	}
	return Ambiguous
}

// foreignGrade is the grade of what the packages field and transfer find: a
// bound that they reached leaves something unseen, as ours do.
func foreignGrade(id string, ambiguous bool) Grade {
	switch {
	case strings.HasPrefix(id, "too-many-"), strings.HasPrefix(id, "too-large"):
		return Unfinished
	case ambiguous:
		return Ambiguous
	}
	return Odd
}

// maxDefects bounds the list of defects, and maxDefectText each text. The first
// part of the list is for all grades and the last for the worst: by then the
// list says all that a verdict needs.
const (
	maxDefects    = 600
	maxDefectText = 200
)

// defect records a defect of the structure, once for each part.
func (r *reader) defect(p *Part, id string, at int, text string) {
	r.defectAs(p, id, gradeOf(id), at, text)
}

func (r *reader) defectAs(p *Part, id string, g Grade, at int, text string) {
	if len(r.x.Defects) >= maxDefects*int(g) {
		return
	}
	for i := range p.Defects {
		if p.Defects[i].ID == id && p.Defects[i].Grade >= g {
			return
		}
	}
	if len(text) > maxDefectText {
		text = text[:maxDefectText]
	}
	d := Defect{ID: id, Grade: g, Part: p, At: min(max(at, 0), len(p.Source.Data)), Text: text}
	p.Defects = append(p.Defects, d)
	r.x.Defects = append(r.x.Defects, d)
}
