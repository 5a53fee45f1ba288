package message

import "io"

// Message is the received message.
type Message struct{}

// Rendering is a message with its edits applied.
type Rendering struct{}

// Size is the number of octets WriteTo will write.
func (r *Rendering) Size() int64 { return 0 }

// WriteTo writes the rendering.
func (r *Rendering) WriteTo(w io.Writer) (int64, error) { return 0, nil }
