package archive

// row is a defect that Walk may tell.
type row struct {
	id      string
	grade   Grade
	meaning string
}

// table lists the defects; docs/archives.md repeats it, and a test compares.
func table() []row {
	return []row{
		{"encrypted", Encrypted, "a password is needed for the contents of a member"},
		{"encrypted-directory", Encrypted, "a password is needed for the names, too"},
		{"corrupt", Opaque, "damaged or cut short: some programs may still open it"},
		{"unsupported", Opaque, "a container or a method that is not unpacked here"},
		{"volume", Opaque, "one of several volumes of an archive"},
		{"decoder-panic", Opaque, "the decoder failed in an unforeseen way"},
		{"dictionary", Bomb, "the header wants more memory than any mail needs"},
		{"bytes", Bomb, "more was unpacked than is allowed for one message"},
		{"entries", Bomb, "more members than are allowed for one message"},
		{"depth", Bomb, "archives within archives, deeper than allowed"},
		{"ratio", Bomb, "a member grows beyond what ordinary data can"},
		{"member-size", Bomb, "a member is larger than what is looked at"},
		{"time", Bomb, "the time for the archives of one message is over"},
		{"embedded", Odd, "an archive lies inside a file of another kind"},
		{"self-extracting", Odd, "a program with an archive appended"},
		{"polyglot", Ambiguous, "a file that is an archive and something else at once"},
		{"trailing-archive", Ambiguous, "a second archive follows the first"},
		{"name-escapes", Ambiguous, "a name leads out of the folder, or to another drive or host"},
		{"name-absolute", Odd, "a name begins at the root"},
		{"name-empty", Ambiguous, "a member without a name"},
		{"name-nul", Ambiguous, "a name with a NUL: some programs end it there"},
		{"name-control", Odd, "a name with control characters"},
		{"name-long", Odd, "a name longer than any file system allows"},
		{"names-differ", Ambiguous, "two names for one member, and programs differ in which they use"},
		{"device", Odd, "a device or pipe as a member"},
		{"trailing-data", Odd, "octets after the end of the archive"},
		{"tar-size", Ambiguous, "a size that programs read differently"},
		{"tar-checksum", Ambiguous, "a header with a wrong checksum: programs stop, skip it or go on"},
		{"tar-sparse", Odd, "a sparse file: its contents are read without the holes"},
		{"tar-end", Odd, "no end-of-archive blocks"},
		{"iso-udf", Opaque, "the disk image also has a UDF view, which is not read"},
		{"iso-names", Odd, "the views of the disk image name different files"},
		{"zip-names-differ", Ambiguous, "the name in front of the member is not the one in the directory"},
		{"zip-unicode-path", Ambiguous, "the Unicode name in the extra field is another than the plain one"},
		{"zip-method-differs", Ambiguous, "the method in front of the member is not the one in the directory"},
		{"zip-flags-differ", Ambiguous, "encryption or character set differ between the two headers"},
		{"zip-sizes-differ", Ambiguous, "the sizes differ between the two headers, or from the data"},
		{"zip-crc-differs", Ambiguous, "the checksums differ between the two headers"},
		{"zip-descriptor", Ambiguous, "the descriptor behind the data contradicts the directory"},
		{"zip-streamed", Odd, "only one of the two headers says that a descriptor follows"},
		{"zip-duplicate", Ambiguous, "two members of one name"},
		{"zip-duplicate-path", Ambiguous, "two members whose names lead to one file"},
		{"zip-duplicate-case", Odd, "two members whose names differ in case alone"},
		{"zip-backslash", Odd, "a name with backslashes"},
		{"zip-directory-data", Ambiguous, "a folder with contents"},
		{"zip-overlap", Ambiguous, "members that share octets"},
		{"zip-hidden-member", Ambiguous, "a member that the directory does not list"},
		{"zip-hidden-directory", Ambiguous, "directory records that the end record does not count"},
		{"zip-missing-member", Ambiguous, "the directory lists what is not there"},
		{"zip-gap", Ambiguous, "unexplained octets between members"},
		{"zip-padding", Odd, "zeros between members or after the end"},
		{"zip-prefix", Ambiguous, "octets in front of the first member"},
		{"zip-trailing", Ambiguous, "octets after the end, which hide it from some programs"},
		{"zip-concatenated", Ambiguous, "several archives in one file"},
		{"zip-comment-end", Ambiguous, "a second end record, in a comment or elsewhere"},
		{"zip-count", Ambiguous, "the number of members or the size of the directory is wrong"},
		{"zip64-disagrees", Ambiguous, "the zip64 records contradict the plain ones"},
		{"zip-no-directory", Opaque, "no end record: cut short, or the first of several volumes"},
	}
}

// lookUp finds the row of a defect.
func lookUp(id string) (Grade, string, bool) {
	for _, r := range table() {
		if r.id == id {
			return r.grade, r.meaning, true
		}
	}
	return 0, "", false
}

// Meaning says in plain words what a defect is; "" for an unknown one.
func Meaning(defectID string) string {
	_, m, _ := lookUp(defectID)
	return m
}

// String is the grade in a word, for logs.
func (g Grade) String() string {
	switch g {
	case Odd:
		return "odd"
	case Ambiguous:
		return "ambiguous"
	case Encrypted:
		return "encrypted"
	case Opaque:
		return "opaque"
	case Bomb:
		return "bomb"
	}
	return "none"
}
