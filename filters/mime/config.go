package mime

import (
	"fmt"
	"math"

	"garita/filters"
	"garita/mail"
)

// maxPoints bounds a configured score: far beyond any threshold.
const maxPoints = 100

// Config is the table [check.mime].
type Config struct {
	Mode                      string  `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	Tag                       bool    `toml:"tag" doc:"What gets points or worse also gets the field X-Garita-Mime with the names of the defects, for the server behind to sort by."`
	Ambiguous                 string  `toml:"ambiguous" enum:"off,observe,score,hold,reject" doc:"Mail programs read the structure in different ways, and nothing dangerous was found in any of them (mime.ambiguous). score: careless programs write such mail."`
	AmbiguousScore            float64 `toml:"ambiguous_score" doc:"Points for it." brief:"true"`
	AmbiguousRisky            string  `toml:"ambiguous_risky" enum:"off,observe,score,hold,reject" doc:"The structure is ambiguous or cannot be read to its end, and in some reading there is a program, script, shortcut, archive, disk image, document that may have macros, or a file that cannot be decoded (mime.ambiguous_risky). hold: this is how files are hidden from scanners. off: it counts as ambiguous."`
	AmbiguousRiskyScore       float64 `toml:"ambiguous_risky_score" doc:"Points for it." brief:"true"`
	OpaquePartial             string  `toml:"opaque_partial" enum:"off,observe,score,hold,reject" doc:"A piece of a larger message (message/partial, mime.partial), which the reader's program puts together behind every scanner. reject: nobody sends such mail any more."`
	OpaquePartialScore        float64 `toml:"opaque_partial_score" doc:"Points for it." brief:"true"`
	ExternalBody              string  `toml:"external_body" enum:"off,observe,score,hold,reject" doc:"The content is to be fetched from elsewhere (message/external-body, mime.external_body). hold."`
	ExternalBodyScore         float64 `toml:"external_body_score" doc:"Points for it." brief:"true"`
	UnknownEncoding           string  `toml:"unknown_encoding" enum:"off,observe,score,hold,reject" doc:"A part without a name has a transfer encoding that nobody knows (mime.encoding). score."`
	UnknownEncodingScore      float64 `toml:"unknown_encoding_score" doc:"Points for it." brief:"true"`
	UnknownEncodingRisky      string  `toml:"unknown_encoding_risky" enum:"off,observe,score,hold,reject" doc:"The same of an attachment, of a part with a name, or of one whose octets look dangerous. hold."`
	UnknownEncodingRiskyScore float64 `toml:"unknown_encoding_risky_score" doc:"Points for it." brief:"true"`
	Unfinished                string  `toml:"unfinished" enum:"off,observe,score,hold,reject" doc:"The message is beyond a bound: too deep, too many parts, fields or octets (mime.limit). hold: the rest was not looked at."`
	UnfinishedScore           float64 `toml:"unfinished_score" doc:"Points for it." brief:"true"`
	Odd                       string  `toml:"odd" enum:"off,observe,score,hold,reject" doc:"The structure is against the standard and all read it in the same way (mime.odd). observe: ordinary mail is full of it."`
	OddScore                  float64 `toml:"odd_score" doc:"Points for it." brief:"true"`
	Out                       Out     `toml:"out" doc:"What is done about outbound mail instead; empty is as above." brief:"true"`
}

// Out is the table [check.mime.out]: the same actions for outbound mail.
type Out struct {
	Ambiguous            string `toml:"ambiguous" enum:",off,observe,score,hold,reject" doc:"Instead of ambiguous."`
	AmbiguousRisky       string `toml:"ambiguous_risky" enum:",off,observe,score,hold,reject" doc:"Instead of ambiguous_risky."`
	OpaquePartial        string `toml:"opaque_partial" enum:",off,observe,score,hold,reject" doc:"Instead of opaque_partial."`
	ExternalBody         string `toml:"external_body" enum:",off,observe,score,hold,reject" doc:"Instead of external_body."`
	UnknownEncoding      string `toml:"unknown_encoding" enum:",off,observe,score,hold,reject" doc:"Instead of unknown_encoding."`
	UnknownEncodingRisky string `toml:"unknown_encoding_risky" enum:",off,observe,score,hold,reject" doc:"Instead of unknown_encoding_risky."`
	Unfinished           string `toml:"unfinished" enum:",off,observe,score,hold,reject" doc:"Instead of unfinished."`
	Odd                  string `toml:"odd" enum:",off,observe,score,hold,reject" doc:"Instead of odd."`
}

// Default holds what could hide a dangerous file, and gives points for the rest.
func Default() Config {
	return Config{
		Mode: "enforce", Tag: true,
		Ambiguous: "score", AmbiguousScore: 2,
		AmbiguousRisky: "hold", AmbiguousRiskyScore: 6,
		OpaquePartial: "reject", OpaquePartialScore: 6,
		ExternalBody: "hold", ExternalBodyScore: 4,
		UnknownEncoding: "score", UnknownEncodingScore: 2,
		UnknownEncodingRisky: "hold", UnknownEncodingRiskyScore: 4,
		Unfinished: "hold", UnfinishedScore: 4,
		Odd: "observe", OddScore: 0.5,
	}
}

// kind is one of the things that the check judges.
type kind int

const (
	odd kind = iota
	ambiguous
	encoding
	encodingRisky
	external
	unfinished
	partial
	risky
	kinds
)

// rule is what is done about a kind.
type rule struct {
	key, symbol    string
	action, outbox string
	score          float64
	refusal        string
}

// rules in the order of the kinds.
func (c Config) rules() [kinds]rule {
	o := c.Out
	return [kinds]rule{
		odd:           {"odd", SymbolOdd, c.Odd, o.Odd, c.OddScore, "Structure of the message is not valid"},
		ambiguous:     {"ambiguous", SymbolAmbiguous, c.Ambiguous, o.Ambiguous, c.AmbiguousScore, "Structure of the message is ambiguous"},
		encoding:      {"unknown_encoding", SymbolEncoding, c.UnknownEncoding, o.UnknownEncoding, c.UnknownEncodingScore, "Transfer encoding is not known"},
		encodingRisky: {"unknown_encoding_risky", SymbolEncoding, c.UnknownEncodingRisky, o.UnknownEncodingRisky, c.UnknownEncodingRiskyScore, "Transfer encoding of an attachment is not known"},
		external:      {"external_body", SymbolExternalBody, c.ExternalBody, o.ExternalBody, c.ExternalBodyScore, "Content outside of the message is not accepted"},
		unfinished:    {"unfinished", SymbolLimit, c.Unfinished, o.Unfinished, c.UnfinishedScore, "Structure of the message is too large"},
		partial:       {"opaque_partial", SymbolPartial, c.OpaquePartial, o.OpaquePartial, c.OpaquePartialScore, "Messages in pieces are not accepted, send it whole"},
		risky:         {"ambiguous_risky", SymbolAmbiguousRisky, c.AmbiguousRisky, o.AmbiguousRisky, c.AmbiguousRiskyScore, "Structure of the message is ambiguous and it has a dangerous attachment"},
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	for _, r := range c.rules() {
		if !action(r.action) {
			errs = append(errs, fmt.Errorf("%s = %q: must be off, observe, score, hold or reject", r.key, r.action))
		}
		if r.outbox != "" && !action(r.outbox) {
			errs = append(errs, fmt.Errorf("out.%s = %q: must be off, observe, score, hold, reject or empty (as %s)", r.key, r.outbox, r.key))
		}
		if math.IsNaN(r.score) || r.score < -maxPoints || r.score > maxPoints {
			errs = append(errs, fmt.Errorf("%s_score = %v: must be from %d to %d", r.key, r.score, -maxPoints, maxPoints))
		}
	}
	return errs
}

func action(s string) bool {
	switch s {
	case "off", "observe", "score", "hold", "reject":
		return true
	}
	return false
}

// New makes the check.
func New(c Config) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("mime: %w", errs[0])
	}
	m := &judge{in: c.rules(), tag: c.Tag}
	m.out = m.in
	for k := range m.out {
		if r := &m.out[k]; r.outbox != "" {
			r.action = r.outbox
		}
	}
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{Name: Name, Impl: m, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError}, nil
}
