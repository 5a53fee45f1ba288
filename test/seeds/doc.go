// Package seeds compares the rule sets that we ship with what the Postfix
// guides of 2004 recommend: the tables anti_virus, pcre_anti_virus and cabeceras of
// the "Guia rapida de Postfix" 0.9 (Servitux), section 7.4. Every one of their
// patterns has a rule of ours, mail that the pattern means, written in all the
// ways that mail programs write it, and mail that only looks like it.
//
// The guide's own tables run over the same mail as Postfix runs them: the test
// says what they miss, and why (rules/postfix).
//
// Ordinary letters, more than 300 of them, must not be refused by any rule and
// must stay below the score from which a recipient sees something.
//
// # Limits
//
// No letter is anybody's: all are made here. The programs in them are a few
// harmless octets, so that it is the name that is judged.
package seeds
