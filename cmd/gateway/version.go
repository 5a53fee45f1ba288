package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

type versionCommand struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *versionCommand) Run(t *terminal) error {
	v := build()
	if c.Output == "json" {
		return t.json(v)
	}
	fmt.Fprintf(t.out, "garita %s (%s, %s/%s)\n", v.Version, v.Go, runtime.GOOS, runtime.GOARCH)
	return nil
}

type buildInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// revision is set by the linker (make build): the Go tools write none where
// they are told to leave version control alone, or cannot read it.
var revision string

func build() buildInfo {
	info, _ := debug.ReadBuildInfo()
	return buildInfo{Version: versionOf(info, revision), Go: runtime.Version()}
}

// versionOf gives the tag that the program was built from, else
// "devel-REVISION", with "-modified" when files had changed.
func versionOf(info *debug.BuildInfo, linked string) string {
	var rev, modified string
	if info != nil {
		// A version that Go makes up has no tag (v0.0.0-DATE-REVISION).
		if m := info.Main.Version; m != "" && m != "(devel)" && !strings.HasPrefix(m, "v0.0.0-") {
			return m
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				rev = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = "-modified"
			}
		}
	}
	if rev == "" {
		rev, modified = linked, ""
	}
	if rev == "" {
		return "devel"
	}
	return "devel-" + rev[:min(len(rev), 12)] + modified
}
