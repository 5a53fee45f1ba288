// Package postfix reads and runs Postfix's own pcre: and regexp: tables for
// header_checks, mime_header_checks, nested_header_checks and body_checks as
// Postfix 3.x does (header_checks(5), pcre_table(5), regexp_table(5)), oddity
// by oddity: a table that an administrator brings works as it did, and where
// it did not work it does not work here, and is told.
//
// Parse reads a table, Lookup asks it for one line, Query answers as
// `postmap -q -` does, and Scan runs up to four tables over a message: it
// splits headers and body as cleanup(8) does with its MIME processing, and
// tells every action in order.
//
// What it does not do: carry out an action; inline tables (pcre:{...}); the
// features of PCRE that package pattern does not know, which are told as
// problems with Unsupported set. Deviations stand in docs/postfix-tables.md.
//
// A match that is given up is an error, where Postfix goes on as if the rule
// were not there.
//
// Limits: a table of 16 MiB; a logical header of 102,400 bytes, body pieces
// of 2,048 bytes, 51,200 bytes of body for each segment, boundaries of 2,048
// bytes and 100 levels of them, all as in Postfix.
package postfix
