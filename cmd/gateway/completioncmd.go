package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand is garita completion: what a shell needs to complete our
// command line, written from the command line's own model.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run writes the script.
func (c *completionCommand) Run(k *kong.Context, t *terminal) error {
	spots := spotsOf(k.Model.Node)
	text := map[string]func([]spot) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell](spots)
	_, err := io.WriteString(t.out, text)
	return err
}

// A spot is a place in the command line: a command, with what can follow.
type spot struct {
	path  string // "config check"; empty at the beginning
	words []word // commands and options
	files bool   // or a file
	args  []word // words in the place of an argument
}

// A word is something that can be typed.
type word struct {
	text, help string
	values     []string // that an option takes
	file       bool     // an option takes a path
	value      bool     // an option takes a value
}

// spotsOf lists the commands of a model, each after its parent.
func spotsOf(root *kong.Node) []spot {
	var out []spot
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		s := spot{path: path}
		for _, child := range n.Children {
			if !child.Hidden {
				s.words = append(s.words, word{text: child.Name, help: child.Help})
			}
		}
		for _, f := range flagsOf(n) {
			w := word{text: "--" + f.Name, help: f.Help, value: !f.IsBool(), file: f.Tag.Type == "path"}
			if f.Enum != "" {
				w.values = f.EnumSlice()
			}
			s.words = append(s.words, w)
		}
		s.words = append(s.words, word{text: "--help", help: "Show help."})
		for _, p := range n.Positional {
			s.files = s.files || p.Enum == ""
			if p.Enum != "" {
				for _, v := range p.EnumSlice() {
					if v != "" {
						s.args = append(s.args, word{text: v})
					}
				}
			}
		}
		out = append(out, s)
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child, strings.TrimSpace(path+" "+child.Name))
			}
		}
	}
	walk(root, "")
	return out
}

// quoted makes one word of a shell of a text of ours.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func texts(list []word) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = w.text
	}
	return strings.Join(out, " ")
}

// bashScript is for bash-completion; it needs nothing of that package.
func bashScript(spots []spot) string {
	var b strings.Builder
	b.WriteString("# bash completion of garita, written by: garita completion bash\n_garita() {\n")
	b.WriteString("\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path='' words='' w\n")
	b.WriteString("\t[ \"$cur\" = = ] && cur=''\n\t[ \"$prev\" = = ] && prev=\"${COMP_WORDS[COMP_CWORD-2]}\"\n")
	b.WriteString("\tfor w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase \"${path:+$path }$w\" in\n")
	for _, s := range spots[1:] {
		fmt.Fprintf(&b, "\t\t%s) path=%s ;;\n", quoted(s.path), quoted(s.path))
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$path|$prev\" in\n")
	for _, s := range spots {
		for _, w := range s.words {
			switch {
			case w.file:
				fmt.Fprintf(&b, "\t%s) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", quoted(s.path+"|"+w.text))
			case w.value:
				fmt.Fprintf(&b, "\t%s) COMPREPLY=($(compgen -W %s -- \"$cur\")); return ;;\n", quoted(s.path+"|"+w.text), quoted(strings.Join(w.values, " ")))
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$path\" in\n")
	for _, s := range spots {
		fmt.Fprintf(&b, "\t%s) words=%s ;;\n", quoted(s.path), quoted(strings.TrimSpace(texts(s.words)+" "+texts(s.args))))
	}
	b.WriteString("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n")
	b.WriteString("\tcase \"$path\" in\n")
	for _, s := range spots {
		if s.files {
			fmt.Fprintf(&b, "\t%s) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n", quoted(s.path))
		}
	}
	b.WriteString("\tesac\n}\ncomplete -F _garita garita\n")
	return b.String()
}

// zshScript is a function for a folder of $fpath, by the name _garita.
func zshScript(spots []spot) string {
	var b strings.Builder
	b.WriteString("#compdef garita\n# zsh completion of garita, written by: garita completion zsh\n_garita() {\n")
	b.WriteString("\tlocal at='' w\n\tlocal -a list\n\tfor w in \"${(@)words[2,CURRENT-1]}\"; do\n\t\tcase \"${at:+$at }$w\" in\n")
	for _, s := range spots[1:] {
		fmt.Fprintf(&b, "\t\t%s) at=%s ;;\n", quoted(s.path), quoted(s.path))
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$at|${words[CURRENT-1]}\" in\n")
	for _, s := range spots {
		for _, w := range s.words {
			switch {
			case w.file:
				fmt.Fprintf(&b, "\t%s) _files; return ;;\n", quoted(s.path+"|"+w.text))
			case w.value:
				fmt.Fprintf(&b, "\t%s) compadd -- %s; return ;;\n", quoted(s.path+"|"+w.text), strings.Join(w.values, " "))
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, s := range spots {
		fmt.Fprintf(&b, "\t%s) list=(", quoted(s.path))
		for _, w := range append(s.words, s.args...) {
			entry := strings.ReplaceAll(w.text, ":", `\:`)
			if w.help != "" {
				entry += ":" + w.help
			}
			b.WriteString(" " + quoted(entry))
		}
		b.WriteString(" )")
		if s.files {
			b.WriteString("; _files")
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("\tesac\n\t_describe 'garita' list\n}\n_garita \"$@\"\n")
	return b.String()
}

// fishScript is for a folder of $fish_complete_path.
func fishScript(spots []spot) string {
	var b strings.Builder
	b.WriteString("# fish completion of garita, written by: garita completion fish\n")
	b.WriteString("function __garita_at\n\tset -l at\n\tfor w in (commandline -opc)[2..-1]\n\t\tset -l try (string join ' ' $at $w)\n\t\tswitch $try\n\t\t\tcase")
	for _, s := range spots[1:] {
		b.WriteString(" " + quoted(s.path))
	}
	b.WriteString("\n\t\t\t\tset at $at $w\n\t\tend\n\tend\n\ttest \"$at\" = \"$argv[1]\"\nend\ncomplete -c garita -f\n")
	for _, s := range spots {
		when := fmt.Sprintf("complete -c garita -n \"__garita_at %s\"", quoted(s.path))
		for _, w := range s.words {
			help := " -d " + quoted(w.help)
			name, option := strings.CutPrefix(w.text, "--")
			switch {
			case !option:
				b.WriteString(when + " -a " + w.text + help + "\n")
			case w.file:
				b.WriteString(when + " -r -F -l " + name + help + "\n")
			case w.value:
				b.WriteString(when + " -x -l " + name + " -a " + quoted(strings.Join(w.values, " ")) + help + "\n")
			default:
				b.WriteString(when + " -l " + name + help + "\n")
			}
		}
		for _, w := range s.args {
			b.WriteString(when + " -a " + w.text + "\n")
		}
		if s.files {
			b.WriteString(when + " -F\n")
		}
	}
	return b.String()
}
