package logs

import "log/slog"

// attr puts text into both halves of an attribute.
func attr(text string) slog.Attr { return slog.String(text, text) }
