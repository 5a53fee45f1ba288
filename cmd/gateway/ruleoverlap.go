package main

import (
	"fmt"
	"slices"
	"strings"

	"garita/filters/all"
	"garita/mail"
	"garita/rules"
)

// overlap are the shipped rules that refuse by name what a class of
// check.attachment is about. They speak first: whoever eases the class has to
// ease the rules, too.
type overlap struct {
	key   string
	rules []string
}

func overlaps() []overlap {
	return []overlap{
		{"executable", []string{"ext-program", "ext-com", "ext-installer", "ext-java", "ext-addin", "ext-help", "ext-settings"}},
		{"script", []string{"ext-script", "ext-hta", "ext-powershell"}},
		{"shortcut", []string{"ext-shortcut"}},
		{"clsid", []string{"name-class-id"}},
		{"double_extension", []string{"double-program", "double-script", "double-shortcut"}},
	}
}

// hiddenByRules warns of what check.attachment is set to do and will not do,
// because a rule refuses it before.
func hiddenByRules(s *Settings, l *all.Lists) (warnings []error) {
	set := l.Rules()
	if set == nil || s.Check.Rules.Mode != mail.Enforce.String() || s.Check.Attachment.Mode == mail.Off.String() {
		return nil
	}
	refuses := map[string]*rules.Rule{}
	for _, r := range set.Rules() {
		if r.Mode == mail.Enforce && slices.ContainsFunc(r.Actions, func(a rules.Action) bool { return a.Kind == rules.Reject }) {
			refuses[r.ID] = r
		}
	}
	a := s.Check.Attachment
	action := map[string]string{"executable": a.Executable, "script": a.Script, "shortcut": a.Shortcut, "clsid": a.CLSID, "double_extension": a.DoubleExtension}
	for _, o := range overlaps() {
		if action[o.key] == "reject" {
			continue
		}
		if ids := slices.DeleteFunc(slices.Clone(o.rules), func(id string) bool { return refuses[id] == nil }); len(ids) > 0 {
			warnings = append(warnings, fmt.Errorf("check.attachment.%s: shipped rules refuse such names before: %s. To have %q count, take their sets out of check.rules.builtin, or garita rules disable each",
				o.key, strings.Join(ids, ", "), action[o.key]))
		}
	}
	for _, ext := range a.Allow {
		for id, r := range refuses {
			if refusesAlone(r, ext) {
				warnings = append(warnings, fmt.Errorf("check.attachment.allow: the rule %s refuses .%s all the same: garita rules disable %s", id, ext, id))
			}
		}
	}
	return warnings
}

// refusesAlone tells whether a rule refuses an extension by itself.
func refusesAlone(r *rules.Rule, ext string) bool {
	return len(r.Match) == 1 && len(r.Not) == 0 && r.Match[0].Subject == rules.AttachmentExtension && r.Match[0].Op == rules.Is &&
		!r.Match[0].Not && slices.ContainsFunc(r.Match[0].Values, func(v string) bool { return strings.EqualFold(v, ext) })
}
