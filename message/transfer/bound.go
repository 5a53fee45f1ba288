package transfer

import "bytes"

// bound collects readings: each once, and all together within a bound.
type bound struct {
	readings []Reading
	left     int
	over     bool
}

// add takes a reading if there is none like it, cut to what is left of the
// bound.
func (b *bound) add(how string, data []byte) {
	if b.has(data) {
		return
	}
	if len(data) > b.left {
		b.over = true
		data = data[:max(b.left, 0):max(b.left, 0)]
		if b.has(data) {
			return
		}
	}
	b.left -= len(data)
	b.readings = append(b.readings, Reading{How: how, Data: data})
}

func (b *bound) has(data []byte) bool {
	for i := range b.readings {
		if bytes.Equal(b.readings[i].Data, data) {
			return true
		}
	}
	return false
}

// faultsAt gives the fault of a bound that was passed: not everything was
// decoded.
func (b *bound) faultsAt(whole bool, at int) []Fault {
	if b.over || !whole {
		return []Fault{{ID: TooLarge, At: at}}
	}
	return nil
}

// TooLarge is the fault of input whose readings pass max: what is behind was
// not decoded.
const TooLarge = "decoded-too-large"

// firstRoom is the room for a file whose size nothing tells; it grows.
const firstRoom = 16 << 10

// snug gives octets without the room that they do not need: they are kept as
// long as the index.
func snug(data []byte) []byte {
	if cap(data)-len(data) <= len(data)/4+64 {
		return data
	}
	return append(make([]byte, 0, len(data)), data...)
}
