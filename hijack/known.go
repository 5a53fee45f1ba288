package hijack

import "encoding/binary"

// maxPeople is how many people are remembered to whom a user has written: the
// last ones to whom he wrote for the first time.
const maxPeople = 3000

// maxKnown bounds their encoding.
const maxKnown = maxPeople * 4

// fingerprint is FNV-1a of 64 bits, folded, over both: the same on every
// gateway, another one for each user.
func fingerprint(user, s string) uint32 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(user) {
		h = (h ^ uint64(user[i])) * prime
	}
	h *= prime
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return uint32(h >> 32)
}

// people are those whom a user knows.
type people struct {
	raw []byte
	set map[uint32]struct{} // where many are asked about
}

// fewAsked are looked up one by one, more by a map: the work is linear.
const fewAsked = 8

func knownOf(raw []byte, asked int) (k people) {
	k.raw = raw[:len(raw)/4*4]
	if asked <= fewAsked {
		return k
	}
	k.set = make(map[uint32]struct{}, len(k.raw)/4)
	for i := 0; i < len(k.raw); i += 4 {
		k.set[binary.LittleEndian.Uint32(k.raw[i:])] = struct{}{}
	}
	return k
}

func (k *people) has(h uint32) bool {
	if k.set != nil {
		_, ok := k.set[h]
		return ok
	}
	for i := 0; i < len(k.raw); i += 4 {
		if binary.LittleEndian.Uint32(k.raw[i:]) == h {
			return true
		}
	}
	return false
}

// addKnown adds them at the end; the oldest leave.
func addKnown(raw []byte, list []uint32) []byte {
	list = list[max(0, len(list)-maxPeople):]
	raw = raw[:len(raw)/4*4]
	k := knownOf(raw, len(list))
	out := append(make([]byte, 0, len(raw)+4*len(list)), raw...)
	for _, h := range list {
		if !k.has(h) {
			out = binary.LittleEndian.AppendUint32(out, h)
		}
	}
	return out[max(0, len(out)-maxKnown):]
}
