package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// notifyChannel sends by one service of shoutrrr. This file is all that knows
// the library.
type notifyChannel struct {
	url, language string
	// busy has room for one call: the library takes no context, so one that
	// hangs is left behind, and the next waits for it rather than adding to it.
	busy chan struct{}
	// deliver is the library; a test has its own.
	deliver func(url, title, text string) error
}

func newNotify(c NotifyConfig, language string) *notifyChannel {
	return &notifyChannel{url: c.URL, language: language, busy: make(chan struct{}, 1), deliver: shout}
}

// services are the schemes that the library knows. Its mail is not among them
// (ours is better known), nor its logger, which would deliver to nobody.
func services() []string {
	var none router.ServiceRouter
	out := slices.DeleteFunc(none.ListServices(), func(s string) bool { return s == "logger" || s == "smtp" })
	slices.Sort(out)
	return out
}

// serviceOf gives the service of a URL, and whether there is one. It connects
// to nothing: some services log in when they are only made.
func serviceOf(raw string) (string, bool) {
	scheme, rest, ok := strings.Cut(raw, "://")
	name, _, _ := strings.Cut(scheme, "+")
	if !ok || rest == "" {
		return "", false
	}
	if _, err := url.Parse(raw); err != nil {
		return name, false
	}
	return name, slices.Contains(services(), name)
}

func shout(raw, title, text string) error {
	r, err := router.New(log.New(io.Discard, "", 0), raw)
	if err != nil {
		return err
	}
	params := types.Params{}
	params.SetTitle(title)
	return errors.Join(r.Send(text, &params)...)
}

func (c *notifyChannel) send(ctx context.Context, n Notice) error {
	select {
	case c.busy <- struct{}{}:
	case <-ctx.Done():
		return errors.New("an earlier call has not come back")
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.busy }()
		defer func() {
			if recover() != nil {
				done <- errPanicked
			}
		}()
		done <- c.deliver(c.url, subject(n, c.language), body(n, c.language))
	}()
	select {
	case err := <-done:
		return c.reason(err)
	case <-ctx.Done():
		return errors.New("no answer in time")
	}
}

var errPanicked = errors.New("the library panicked")

// reason gives what can be said of an error of the library. Its own texts hold
// the URL, and with it passwords: only what the network said, and the status,
// are told.
func (c *notifyChannel) reason(err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPanicked):
		return err
	case errors.As(err, &op):
		if op.Addr != nil {
			return fmt.Errorf("%s: %s: %w", op.Op, op.Addr, op.Err)
		}
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	name, _ := serviceOf(c.url)
	if m := regexp.MustCompile(`\b[345][0-9][0-9]\b`).FindString(err.Error()); m != "" {
		return fmt.Errorf("%s did not take it (status %s?)", name, m)
	}
	return fmt.Errorf("%s did not take it; look at its URL", name)
}
