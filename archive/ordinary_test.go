package archive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOrdinary lets real programs write archives: every name and content is
// seen, and nothing is called ambiguous, opaque or a bomb.
func TestOrdinary(t *testing.T) {
	pyZip := `
import zipfile,sys
z=zipfile.ZipFile('a.out','w',%s)
for n in ['hello.txt','sub/long.txt','sub/noise.bin','empty','año ñandú.txt']: z.write(n)
%s
z.close()`
	for _, c := range []struct {
		name string
		cmd  string
	}{
		{"info-zip", "zip -q -r a.out ."},
		{"info-zip stored", "zip -q -0 -r a.out ."},
		{"info-zip to a pipe", "zip -q -r - . | cat > ../a.out; mv ../a.out ."},
		{"info-zip with a comment", "zip -q -r a.out . && echo note | zip -q -z a.out"},
		{"info-zip bzip2", "zip -q -Z bzip2 -r a.out ."},
		{"info-zip updated", "zip -q -r a.out . && zip -q a.out hello.txt && zip -q -d a.out empty && zip -q a.out empty"},
		{"info-zip zip64", "zip -q -fz -r a.out ."},
		{"info-zip symlink", "ln -s hello.txt link && zip -q -y -r a.out ."},
		{"7z zip", "7z a -tzip a.zip . >/dev/null && mv a.zip a.out"},
		{"7z zip lzma", "7z a -tzip -mm=lzma a.zip . >/dev/null && mv a.zip a.out"},
		{"7z zip lzma big", "7z a -tzip -mm=lzma -mx=9 a.zip . >/dev/null && mv a.zip a.out"},
		{"python", "python3 -c \"" + sprintf(pyZip, "zipfile.ZIP_DEFLATED", "") + "\""},
		{"python stored and appended", "python3 -c \"" + sprintf(pyZip, "zipfile.ZIP_STORED", "z.close();z=zipfile.ZipFile('a.out','a');z.writestr('more.txt','more')") + "\""},
		{"python stream", "python3 -c \"" + strings.ReplaceAll(sprintf(pyZip, "zipfile.ZIP_DEFLATED", ""), "'a.out'", "open('/dev/stdout','wb')") + "\" > ../a.out; mv ../a.out ."},
		{"zip in a zip", "zip -q -0 -r in.zip . && zip -q -0 a.out in.zip"},
		{"7z", "7z a a.7z . >/dev/null && mv a.7z a.out"},
		{"7z not solid", "7z a -ms=off a.7z . >/dev/null && mv a.7z a.out"},
		{"7z ppmd", "7z a -m0=ppmd a.7z . >/dev/null && mv a.7z a.out"},
		{"7z bzip2", "7z a -m0=bzip2 a.7z . >/dev/null && mv a.7z a.out"},
		{"7z lzma, plain header", "7z a -m0=lzma -mhc=off a.7z . >/dev/null && mv a.7z a.out"},
		{"7z ultra", "7z a -mx=9 a.7z . >/dev/null && mv a.7z a.out"},
		{"7z copy", "7z a -mx=0 a.7z . >/dev/null && mv a.7z a.out"},
		{"7z bcj", "7z a -m0=bcj -m1=lzma2 a.7z . >/dev/null && mv a.7z a.out"},
		{"tar", "tar cf ../a.out . && mv ../a.out ."},
		{"tar pax", "tar --format=pax -cf ../a.out . && mv ../a.out ."},
		{"tar v7", "tar --format=v7 -cf ../a.out . && mv ../a.out ."},
		{"tar ustar", "tar --format=ustar -cf ../a.out . && mv ../a.out ."},
		{"tar gz", "tar czf ../a.out . && mv ../a.out ."},
		{"tar bz2", "tar cjf ../a.out . && mv ../a.out ."},
		{"tar xz", "tar cJf ../a.out . && mv ../a.out ."},
		{"tar xz -9e", "tar cf - * | xz -9e > ../a.out && mv ../a.out ."},
		{"tar xz threads", "tar cf - * | xz -T2 --block-size=65536 > ../a.out && mv ../a.out ."},
		{"tar lzma", "tar cf - * | xz --format=lzma > ../a.out && mv ../a.out ."},
		{"tar zstd", "tar cf - * | zstd -q > ../a.out && mv ../a.out ."},
		{"tar zstd -19", "tar cf - * | zstd -q -19 > ../a.out && mv ../a.out ."},
		{"tar lz4", "tar cf - * | lz4 -q > ../a.out && mv ../a.out ."},
		{"tar Z", "tar cf - * | compress > ../a.out && mv ../a.out ."},
		{"iso", "genisoimage -quiet -o ../a.out . && mv ../a.out ."},
		{"iso joliet", "genisoimage -quiet -J -o ../a.out . && mv ../a.out ."},
		{"iso rock ridge", "genisoimage -quiet -J -R -o ../a.out . && mv ../a.out ."},
		{"cpio newc", "find . | cpio -o -H newc --quiet > ../a.out && mv ../a.out ."},
		{"cpio odc", "find . | cpio -o -H odc --quiet > ../a.out && mv ../a.out ."},
		{"cpio crc", "find . | cpio -o -H crc --quiet > ../a.out && mv ../a.out ."},
		{"cpio binary", "find . | cpio -o -H bin --quiet > ../a.out && mv ../a.out ."},
		{"ar", "ar rc a.out hello.txt sub/long.txt sub/noise.bin"},
		{"gcab", "gcab -c -n a.out hello.txt sub/long.txt sub/noise.bin empty"},
		{"gcab mszip", "gcab -c -z a.out hello.txt sub/long.txt sub/noise.bin empty"},
		{"arj", "arj a -m0 -y a.arj hello.txt >/dev/null && mv a.arj a.out"},
		{"deb", "mkdir -p d/DEBIAN d/doc && cp hello.txt sub/long.txt d/doc && printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: x\\n' > d/DEBIAN/control && dpkg-deb -b d a.out >/dev/null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t)
			run(t, dir, "sh", "-ec", c.cmd)
			r := walk(t, readFile(t, dir, "a.out"))
			r.mustBeOrdinary(t)
			ok := false
			for _, e := range r.entries {
				base := strings.ToLower(filepath.Base(e.Names[0]))
				ok = ok || strings.HasPrefix(base, "hello") && strings.HasPrefix(e.content, "hello, world")
				if strings.HasPrefix(base, "long") && (e.Size != 100_000 || e.content != string(text(4096))) {
					t.Errorf("%q: size %d", e.Names, e.Size)
				}
			}
			if !ok {
				t.Errorf("hello.txt was not seen: %q", r.names())
			}
			t.Log(r.ids())
		})
	}
}

// TestAccents wants names of other writers in letters, not in question marks.
func TestAccents(t *testing.T) {
	dir := folder(t)
	run(t, dir, "zip", "-q", "-r", "a.out", ".")
	walk(t, readFile(t, dir, "a.out")).mustHave(t, "año ñandú.txt", "acentos")
	os.Remove(filepath.Join(dir, "a.out"))
	run(t, dir, "7z", "a", "a.7z", ".")
	walk(t, readFile(t, dir, "a.7z")).mustHave(t, "año ñandú.txt", "acentos")
}
