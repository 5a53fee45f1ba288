package document

import (
	"bytes"
	"strings"
)

// The old equation editor (EQNEDT32.EXE) is a program out of process, without
// any defence, whose holes are open for good (CVE-2017-11882, CVE-2018-0802):
// Microsoft took it out of Office in 2018. What starts it is the class of the
// storage; what names it is the object's class in the document around it.
// MathType writes streams and names that begin alike, under another class.

// clsidMathType is that of MathType 4 and later, Equation.DSMT4.
const clsidMathType = "\x03\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"

// equationClass tells the class of an object by its name (ProgID).
func equationClass(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	return strings.HasPrefix(name, "equation") && !strings.HasPrefix(name, "equation.dsmt")
}

// equationText tells the names of an object's program, of which one may be for
// people: "Microsoft Equation 3.0".
func equationText(text string) bool {
	low := strings.ToLower(text)
	return strings.Contains(low, "equation") && !strings.Contains(low, "mathtype") && !strings.Contains(low, "equation.dsmt")
}

func equationCLSID(id string) bool { return id == clsidEquation2 || id == clsidEquation3 }

// equationStream notes a stream of equations, unless MathType owns it.
func (in *inspector) equationStream(where string, c *compound, i int) {
	if p := c.entries[i].parent; p >= 0 && string(c.entries[p].clsid[:]) == clsidMathType {
		in.add(OLEObject, join(where, c.path(i)), "MathType")
		return
	}
	in.add(EquationEditor, join(where, c.path(i)), "Equation Native")
}

// sheetObjects looks for the class of objects among the cells of a worksheet,
// which are not read else. It is asked for when the sheets of a workbook have
// objects at all.
func (in *inspector) sheetObjects(where string, b []byte) {
	const element = "oleObject"
	for {
		i := bytes.Index(b, []byte(element))
		if i < 0 {
			return
		}
		opens := i > 0 && (b[i-1] == '<' || b[i-1] == ':')
		b = b[i+len(element):]
		if !opens {
			continue
		}
		tag := b[:min(len(b), 4096)]
		if end := bytes.IndexByte(tag, '>'); end >= 0 {
			tag = tag[:end]
		}
		in.objectTag(where, &xmlTag{name: element, attrs: tag})
	}
}

// objectTag judges the class that a document names for an object inside:
// o:OLEObject of Word, oleObject of Excel, p:oleObj of PowerPoint.
func (in *inspector) objectTag(where string, t *xmlTag) {
	if p := t.attr("progId"); equationClass(p) {
		in.add(EquationEditor, where, p)
	}
}
