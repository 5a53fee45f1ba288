package config

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A hint is an error whose text completes `"25MBs" …`, with a suggestion.
type hint struct{ text, try string }

func (h *hint) Error() string { return h.text }

var sizeForm = regexp.MustCompile(`^(\d+)\s*([A-Za-z]*)$`)

func sizeUnit(unit string) (int64, bool) {
	switch strings.ToUpper(unit) {
	case "B":
		return 1, true
	case "K", "KB", "KIB":
		return 1 << 10, true
	case "M", "MB", "MIB":
		return 1 << 20, true
	case "G", "GB", "GIB":
		return 1 << 30, true
	case "T", "TB", "TIB":
		return 1 << 40, true
	}
	return 0, false
}

// parseSize reads "25MB".
func parseSize(s string) (int64, error) {
	t := strings.TrimSpace(s)
	if strings.HasPrefix(t, "-") {
		return 0, &hint{text: "is a negative size"}
	}
	m := sizeForm.FindStringSubmatch(t)
	if m == nil {
		return 0, &hint{"is not a size", trySize(t)}
	}
	if m[2] == "" {
		if strings.Trim(m[1], "0") == "" {
			return 0, nil
		}
		return 0, &hint{"has no unit", `try "` + m[1] + `MB"`}
	}
	unit, ok := sizeUnit(m[2])
	if !ok {
		return 0, &hint{"is not a size", trySize(t)}
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, &hint{text: "is too large a size"}
	}
	return n * unit, nil
}

var sizeStart = regexp.MustCompile(`^(\d{1,15})(?:[.,](\d{1,6}))?\s*(?i:([KMGT])(?:I?B)?|)`)

func trySize(s string) string {
	m := sizeStart.FindStringSubmatch(s)
	if m == nil {
		return `write a number and a unit, as "25MB"`
	}
	unit := "MB"
	if m[3] != "" {
		unit = strings.ToUpper(m[3]) + "B"
	}
	if m[2] != "" { // "1.5GB" is "1536MB"
		x, err := strconv.ParseFloat(m[1]+"."+m[2], 64)
		n, _ := sizeUnit(unit)
		if x *= float64(n); err != nil || x != math.Trunc(x) || x > 1<<50 {
			return "write a whole number and a unit"
		}
		return `try "` + formatSize(int64(x)) + `"`
	}
	return `try "` + m[1] + unit + `"`
}

func formatSize(n int64) string {
	if n == 0 {
		return "0B"
	}
	for _, u := range []struct {
		n    int64
		name string
	}{{1 << 40, "TB"}, {1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if n%u.n == 0 {
			return strconv.FormatInt(n/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

var (
	durationForm  = regexp.MustCompile(`^(?:(\d+)d)?((?:\d+(?:\.\d+)?(?:h|ms|us|ns|m|s))*)$`)
	durationStart = regexp.MustCompile(`^(\d{1,9})\s*([A-Za-z]*)`)
)

// parseDuration reads "90s", "2h30m" and "7d".
func parseDuration(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	if strings.HasPrefix(t, "-") {
		return 0, &hint{text: "is a negative duration"}
	}
	m := durationForm.FindStringSubmatch(t)
	if m == nil || t == "" {
		return 0, tryDuration(t)
	}
	var total time.Duration
	if m[1] != "" {
		const day = 24 * time.Hour
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || n > int64(math.MaxInt64/day) {
			return 0, &hint{text: "is too long a duration"}
		}
		total = time.Duration(n) * day
	}
	if m[2] != "" {
		d, err := time.ParseDuration(m[2])
		if err != nil || d < 0 || total > math.MaxInt64-d {
			return 0, &hint{text: "is too long a duration"}
		}
		total += d
	}
	return total, nil
}

func tryDuration(s string) error {
	m := durationStart.FindStringSubmatch(s)
	if m == nil {
		return &hint{"is not a duration", `write a number and a unit, as "30s", "15m", "2h30m" or "7d"`}
	}
	u := strings.ToLower(m[2])
	unit := "s"
	switch {
	case strings.HasPrefix(u, "ms") || strings.HasPrefix(u, "mil"):
		unit = "ms"
	case strings.HasPrefix(u, "m"):
		unit = "m"
	case strings.HasPrefix(u, "h"):
		unit = "h"
	case strings.HasPrefix(u, "d"):
		unit = "d"
	}
	text := "is not a duration"
	if m[0] == s && u == "" {
		text = "has no unit"
	}
	if unit != "s" || u == "" || strings.HasPrefix(u, "s") {
		return &hint{text, `try "` + m[1] + unit + `"`}
	}
	return &hint{text, `write it as "30s", "15m", "2h30m" or "7d"`}
}

func durationOf(v reflect.Value) time.Duration { return time.Duration(v.Int()) }

func formatDuration(d time.Duration) string {
	if d <= 0 {
		return d.String()
	}
	var b strings.Builder
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / u.d; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.d
		}
	}
	if d > 0 {
		b.WriteString(strings.ReplaceAll(d.String(), "µ", "u"))
	}
	return b.String()
}

// parsePrefix reads a network; a bare address is the network of that address.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := parseAddr(s)
		if err != nil {
			return netip.Prefix{}, &hint{"is not an address or network", tryPrefix(s)}
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, &hint{"is not an address or network", tryPrefix(s)}
	}
	if p.Addr().Is4In6() {
		// Such a network matches no client: their addresses are unmapped first.
		return netip.Prefix{}, &hint{"is an IPv4 network written as IPv6", "write it as IPv4, as 192.0.2.0/24"}
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, &hint{"has address bits beyond its mask", `try "` + m.String() + `" or "` + p.Addr().String() + `"`}
	}
	return p, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, errors.New("not an address")
	}
	return a.Unmap(), nil
}

func tryPrefix(s string) string {
	host, mask, ok := strings.Cut(s, "/")
	if a, err := parseAddr(strings.Trim(strings.TrimSpace(host), "[]")); err == nil && ok {
		if m, err := netip.ParseAddr(mask); err == nil && m.Is4() && a.Is4() {
			ones, zero := 0, false
			for _, b := range m.AsSlice() {
				for bit := 7; bit >= 0; bit-- {
					if b>>bit&1 == 0 {
						zero = true
					} else if zero {
						return ""
					} else {
						ones++
					}
				}
			}
			return `try "` + netip.PrefixFrom(a, ones).Masked().String() + `"`
		}
		return "the mask is 0 to " + strconv.Itoa(a.BitLen())
	}
	return `write "192.0.2.0/24", "2001:db8::/32" or a single address`
}
