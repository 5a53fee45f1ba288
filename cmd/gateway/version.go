package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
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

// build reads the version that the Go tools wrote into the binary: a tag, or
// the revision it was built from.
func build() buildInfo {
	v := buildInfo{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v.Version = "devel-" + s.Value[:12]
		}
	}
	return v
}
