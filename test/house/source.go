package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"sort"
)

// The budgets of design section 7, in lines. Test files are free.
const (
	fileBudget     = 600
	functionBudget = 80
)

// CheckBudgets gives a line for each file and function that is too long.
func CheckBudgets(fset *token.FileSet, f *ast.File) []string {
	var bad []string
	if file := fset.File(f.Pos()); file.LineCount() > fileBudget {
		bad = append(bad, fmt.Sprintf("%s has %d lines, more than %d: split it by noun", file.Name(), file.LineCount(), fileBudget))
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		from, to := fset.Position(fn.Pos()), fset.Position(fn.End())
		if n := to.Line - from.Line + 1; n > functionBudget {
			bad = append(bad, fmt.Sprintf("%s:%d: %s has %d lines, more than %d", from.Filename, from.Line, fn.Name.Name, n, functionBudget))
		}
	}
	return bad
}

// CheckInit gives a line for each init function and each blank import: both
// make a package do something because it is linked, not because it is called.
// An import for go:embed is the one that the language itself asks for.
func CheckInit(fset *token.FileSet, f *ast.File) []string {
	var bad []string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			bad = append(bad, fmt.Sprintf("%s: init function", fset.Position(fn.Pos())))
		}
	}
	for _, imp := range f.Imports {
		if imp.Name != nil && imp.Name.Name == "_" && imp.Path.Value != `"embed"` {
			bad = append(bad, fmt.Sprintf("%s: blank import of %s", fset.Position(imp.Pos()), imp.Path.Value))
		}
	}
	return bad
}

// CheckState gives a line for each variable of a package that any of its
// files changes, and for each whose type is made to be changed. What it
// cannot see is a change through a pointer that was copied first.
func CheckState(fset *token.FileSet, files []*ast.File) []string {
	vars := map[string]*ast.ValueSpec{}
	var bad []string
	for _, f := range files {
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				spec := s.(*ast.ValueSpec)
				for _, n := range spec.Names {
					if n.Name == "_" {
						continue
					}
					vars[n.Name] = spec
					if what := changing(spec.Type); what != "" {
						bad = append(bad, fmt.Sprintf("%s: package variable %s is a %s", fset.Position(n.Pos()), n.Name, what))
					}
				}
			}
		}
	}
	for _, f := range files {
		for _, n := range changed(f) {
			spec, ok := vars[n.Name]
			// The parser resolves a name within its file: unresolved means
			// another file of the package (or a builtin), resolved to
			// another declaration means a local of the same name.
			if !ok || n.Obj != nil && n.Obj.Decl != spec {
				continue
			}
			bad = append(bad, fmt.Sprintf("%s: package variable %s is changed", fset.Position(n.Pos()), n.Name))
		}
	}
	sort.Strings(bad)
	return bad
}

// changing tells what kind of state a type is, or "". A sync.Pool only saves
// work and holds nothing that anybody relies on.
func changing(t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if ix, ok := t.(*ast.IndexExpr); ok {
		t = ix.X
	}
	sel, ok := t.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok || pkg.Name == "sync" && sel.Sel.Name == "Pool" {
		return ""
	}
	if pkg.Name == "sync" || pkg.Name == "atomic" {
		return pkg.Name + "." + sel.Sel.Name
	}
	return ""
}

// changed lists the names at the root of everything that a file assigns to,
// counts up, deletes from or takes the address of.
func changed(f *ast.File) []*ast.Ident {
	var names []*ast.Ident
	add := func(e ast.Expr) {
		if id := root(e); id != nil {
			names = append(names, id)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				add(n.X)
			}
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				add(n.Key)
				if n.Value != nil {
					add(n.Value)
				}
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
				add(n.Args[0])
			}
		}
		return true
	})
	return names
}

// root is the variable that an expression is a part of: a in a.b[c].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
