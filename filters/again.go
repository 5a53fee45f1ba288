package filters

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"garita/mail"
	"garita/message"
)

// Again judges another message in the place of the transaction's own: what is
// left of it when its body was edited. All checks of the message run, over a
// copy of the transaction with what earlier stages found and with Rewritten
// set; nothing is written to tx but what checks themselves remember, and of the
// decision the verdict, its reasons and Disarm count: edits were made at the
// first look, so there is one round of them.
func (e *Engine) Again(ctx context.Context, tx *mail.Transaction, m *message.Message) mail.Decision {
	st := begin(tx)
	own := &txState{rcptFinds: st.rcptFinds}
	own.runs = own.room[:0]
	other := *tx
	other.Message, other.Scratch, other.Edits, other.Rewritten = m, own, nil, true
	other.Findings = slices.DeleteFunc(slices.Clone(tx.Findings), func(f mail.Finding) bool { return f.Stage == mail.StageMessage })
	other.Auth = slices.Clip(tx.Auth[:min(st.auth, len(tx.Auth))])
	d := e.whole(ctx, &other, mail.StageMessage)
	d.Edits, d.Envelope, d.Rewrite = nil, nil, nil
	return d
}

// SymbolConflict is the finding of the engine about edits that cannot all be
// made.
const SymbolConflict = "disarm.conflict"

// places gives what checks want to change, but for what is to be disarmed. At
// the second look it is nothing.
func (e *Engine) places(tx *mail.Transaction, st *txState) places {
	if tx.Rewritten {
		return places{}
	}
	rewrite := st.rewrite
	if e.cfg.Mode() != mail.Enforce {
		rewrite = nil // a mode that changed meanwhile
	}
	return placed(tx.Message, tx.Edits, rewrite)
}

// disarming gives what checks want to take out, in order; of what several take
// out in the same way one. It is false when they want different things of one
// place, or when there are edits that no check may ask for.
func (e *Engine) disarming(st *txState) (edits []message.Edit, apart bool) {
	if len(st.disarm) == 0 || e.cfg.Mode() != mail.Enforce {
		return nil, true // a mode that changed meanwhile
	}
	edits = slices.Clone(st.disarm)
	slices.SortStableFunc(edits, func(a, b message.Edit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Delete, b.Delete))
	})
	edits = slices.CompactFunc(edits, func(a, b message.Edit) bool {
		return a.At == b.At && a.Delete == b.Delete && bytes.Equal(a.Insert, b.Insert)
	})
	for i := range edits[1:] {
		if a, b := edits[i], edits[i+1]; a.At == b.At || a.At+a.Delete > b.At {
			return nil, false
		}
	}
	return edits, true
}

func conflict() mail.Finding {
	return mail.Finding{Symbol: SymbolConflict, Filter: "disarm", Stage: mail.StageMessage, Verdict: mail.Quarantine, Counted: true,
		Detail: "several checks want to change one place of the body in different ways"}
}
