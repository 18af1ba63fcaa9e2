// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// change replaces one node of a function's syntax tree. The pattern has to match exactly one node. Both are compared token by
// token, so that line breaks, indentation and comments make no difference:
//
//	a.Seen && !a.SeenHere           an expression
//	q.grantNext(server)             a statement, where the change is one of statements
//	if s.token == refused {…}       a statement with any body
//	case a.Seen && !a.SeenHere:     a case clause with any body; likewise default:
type change struct {
	pattern string
	kinds   []nodeKind
	// rewrite returns what replaces the text of the matched node.
	rewrite func(old string) string
}

// nodeKind is a kind of nodes that a pattern can match.
type nodeKind string

const (
	expression nodeKind = "expression"
	statement  nodeKind = "statement"
	caseClause nodeKind = "case clause"
)

// replace puts another text in place of an expression, a case clause or a statement: the pattern is taken for the first of these that
// it can be. Several expressions may replace one of a list.
func replace(pattern, replacement string) change {
	return change{pattern, []nodeKind{expression, caseClause, statement}, func(string) string { return replacement }}
}

// never makes a condition false. It is still evaluated.
func never(condition string) change {
	return change{condition, []nodeKind{expression}, func(old string) string { return "(" + old + ") && false" }}
}

// always makes a condition true. It is still evaluated.
func always(condition string) change {
	return change{condition, []nodeKind{expression}, func(old string) string { return "(" + old + ") || true" }}
}

// negate makes a condition the opposite of what it was.
func negate(condition string) change {
	return change{condition, []nodeKind{expression}, func(old string) string { return "!(" + old + ")" }}
}

// remove deletes a statement or a case clause.
func remove(pattern string) change {
	return change{pattern, []nodeKind{caseClause, statement}, func(string) string { return "" }}
}

// insertBefore adds statements before a statement, or clauses before a case clause.
func insertBefore(pattern, added string) change {
	return change{pattern, []nodeKind{caseClause, statement}, func(old string) string { return added + "\n" + old }}
}

// insertAfter adds statements after a statement, or clauses after a case clause.
func insertAfter(pattern, added string) change {
	return change{pattern, []nodeKind{caseClause, statement}, func(old string) string { return old + "\n" + added + "\n" }}
}

// mutated is a source file with one change.
type mutated struct {
	file   string
	source []byte
}

// tree reads packages below a directory, each once. It is not safe for concurrent use.
type tree struct {
	root     string
	files    *token.FileSet
	packages map[string][]sourceFile
}

type sourceFile struct {
	name   string
	source []byte
	syntax *ast.File
}

func newTree(root string) *tree {
	return &tree{root: root, files: token.NewFileSet(), packages: map[string][]sourceFile{}}
}

// apply changes the declaration named dir.Func, dir.Type.Method or dir.constOrVar. The error says why the change cannot be made:
// there is not exactly one such declaration, or not exactly one node in it that the pattern matches, or the result is not valid syntax.
func (t *tree) apply(declaration string, c change) (mutated, error) {
	file, root, err := t.find(declaration)
	if err != nil {
		return mutated{}, err
	}
	kind, err := c.kind()
	if err != nil {
		return mutated{}, err
	}
	found := t.match(file, root, kind, normalize(c.pattern))
	switch {
	case len(found) == 0:
		return mutated{}, fmt.Errorf("%s has no %s %q", declaration, kind, c.pattern)
	case len(found) > 1:
		return mutated{}, fmt.Errorf("%s has %s %q %d times: %s", declaration, kind, c.pattern, len(found), t.places(found))
	}
	start, end := t.offset(found[0].node.Pos()), t.offset(found[0].node.End())
	old := string(file.source[start:end])
	replacement := c.rewrite(old)
	if kind == expression && found[0].isOperand && isOperation(replacement) {
		replacement = "(" + replacement + ")"
	}
	source := slices.Concat(file.source[:start], []byte(replacement), file.source[end:])
	if slices.Equal(normalize(replacement), normalize(old)) {
		return mutated{}, fmt.Errorf("%s: replacing %q changes nothing", declaration, c.pattern)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), file.name, source, parser.SkipObjectResolution); err != nil {
		return mutated{}, fmt.Errorf("%s: replacing %q by %q: %w", declaration, c.pattern, replacement, err)
	}
	return mutated{file: file.name, source: source}, nil
}

// find returns the body of a function, or the specification of a constant or variable, and the file that it is in.
func (t *tree) find(declaration string) (sourceFile, ast.Node, error) {
	parent, last := path.Split(declaration)
	base, name, ok := strings.Cut(last, ".")
	if !ok {
		return sourceFile{}, nil, fmt.Errorf("%q is not of the form dir.Func or dir.Type.Method", declaration)
	}
	files, err := t.parse(parent + base)
	if err != nil {
		return sourceFile{}, nil, err
	}
	var in sourceFile
	var found []match
	for _, file := range files {
		for _, node := range declarationsOf(file.syntax, name) {
			in, found = file, append(found, match{node: node})
		}
	}
	switch len(found) {
	case 0:
		return sourceFile{}, nil, fmt.Errorf("there is no %s", declaration)
	case 1:
		return in, found[0].node, nil
	default:
		return sourceFile{}, nil, fmt.Errorf("there are %d of %s: %s", len(found), declaration, t.places(found))
	}
}

// parse returns the files of the package in a directory but its tests.
func (t *tree) parse(dir string) ([]sourceFile, error) {
	if files, found := t.packages[dir]; found {
		return files, nil
	}
	names, err := filepath.Glob(filepath.Join(t.root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []sourceFile
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name) //nolint:gosec // a file of the tree
		if err != nil {
			return nil, err
		}
		syntax, err := parser.ParseFile(t.files, name, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, sourceFile{name: name, source: source, syntax: syntax})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no Go package in %q", dir)
	}
	t.packages[dir] = files
	return files, nil
}

// declarationsOf returns the bodies of the functions that have a name, which is Type.Method for methods, and the constants and
// variables at the top level that do.
func declarationsOf(file *ast.File, name string) []ast.Node {
	var found []ast.Node
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if nameOf(d) == name && d.Body != nil {
				found = append(found, d.Body)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				values, ok := spec.(*ast.ValueSpec)
				if ok && slices.ContainsFunc(values.Names, func(id *ast.Ident) bool { return id.Name == name }) {
					found = append(found, values)
				}
			}
		}
	}
	return found
}

// nameOf names a function: Func or Type.Method, without stars and type parameters.
func nameOf(function *ast.FuncDecl) string {
	if function.Recv == nil {
		return function.Name.Name
	}
	receiver := function.Recv.List[0].Type
	for {
		switch x := receiver.(type) {
		case *ast.StarExpr:
			receiver = x.X
		case *ast.ParenExpr:
			receiver = x.X
		case *ast.IndexExpr:
			receiver = x.X
		case *ast.IndexListExpr:
			receiver = x.X
		case *ast.Ident:
			return x.Name + "." + function.Name.Name
		default:
			return function.Name.Name
		}
	}
}

// kind returns the first of the kinds that the pattern is valid syntax for.
func (c change) kind() (nodeKind, error) {
	err := errors.New("no kind of node")
	for _, kind := range c.kinds {
		switch kind {
		case expression:
			_, err = parser.ParseExpr(c.pattern)
		case caseClause:
			err = parseStatement("switch {\n" + c.pattern + "\n}")
			if err != nil {
				err = parseStatement("select {\n" + c.pattern + "\n}")
			}
		case statement:
			err = parseStatement(c.pattern)
		}
		if err == nil {
			return kind, nil
		}
	}
	return "", fmt.Errorf("pattern %q: %w", c.pattern, err)
}

// parseStatement returns an error unless the source is one statement.
func parseStatement(source string) error {
	source = "package p\nfunc _() {\n" + strings.ReplaceAll(source, anyBody, "") + "\n}"
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if n := len(file.Decls[0].(*ast.FuncDecl).Body.List); n != 1 {
		return fmt.Errorf("%d statements in place of one", n)
	}
	return nil
}

// match is a node that a pattern matches.
type match struct {
	node ast.Node
	// isOperand says that the node is part of an expression in which an operation needs parentheses.
	isOperand bool
}

// match returns the nodes of one kind below another that have these tokens.
func (t *tree) match(file sourceFile, root ast.Node, kind nodeKind, pattern []string) []match {
	var found []match
	var above []ast.Node
	ast.Inspect(root, func(node ast.Node) bool {
		if node == nil {
			above = above[:len(above)-1]
			return true
		}
		if node != root && kindOf(node) == kind && slices.ContainsFunc(t.forms(file, node), func(form []string) bool { return slices.Equal(form, pattern) }) {
			found = append(found, match{node: node, isOperand: isOperandOf(above[len(above)-1])})
		}
		above = append(above, node)
		return true
	})
	return found
}

func kindOf(node ast.Node) nodeKind {
	switch node.(type) {
	case *ast.CaseClause, *ast.CommClause:
		return caseClause
	case ast.Expr:
		return expression
	case ast.Stmt:
		return statement
	default:
		return ""
	}
}

func isOperandOf(parent ast.Node) bool {
	switch parent.(type) {
	case *ast.BinaryExpr, *ast.UnaryExpr, *ast.StarExpr, *ast.SelectorExpr, *ast.IndexExpr, *ast.SliceExpr, *ast.TypeAssertExpr:
		return true
	}
	return false
}

func isOperation(source string) bool {
	parsed, err := parser.ParseExpr(source)
	if err != nil {
		return false
	}
	switch parsed.(type) {
	case *ast.BinaryExpr, *ast.UnaryExpr, *ast.StarExpr:
		return true
	}
	return false
}

// anyBody stands for the statements of a body in a pattern.
const anyBody = "…"

// forms returns the tokens that a pattern of a node may have: for a case clause, those before its body; for any other node, all of them,
// or those with anyBody in its body.
func (t *tree) forms(file sourceFile, node ast.Node) [][]string {
	text := func(from, to token.Pos) string { return string(file.source[t.offset(from):t.offset(to)]) }
	switch n := node.(type) {
	case *ast.CaseClause:
		return [][]string{normalize(text(n.Pos(), n.Colon+1))}
	case *ast.CommClause:
		return [][]string{normalize(text(n.Pos(), n.Colon+1))}
	}
	forms := [][]string{normalize(text(node.Pos(), node.End()))}
	if body := bodyOf(node); body != nil {
		forms = append(forms, normalize(text(node.Pos(), body.Lbrace+1)+anyBody+text(body.Rbrace, node.End())))
	}
	return forms
}

func bodyOf(node ast.Node) *ast.BlockStmt {
	switch n := node.(type) {
	case *ast.IfStmt:
		return n.Body
	case *ast.ForStmt:
		return n.Body
	case *ast.RangeStmt:
		return n.Body
	case *ast.SwitchStmt:
		return n.Body
	case *ast.TypeSwitchStmt:
		return n.Body
	case *ast.SelectStmt:
		return n.Body
	default:
		return nil
	}
}

// normalize returns the tokens of a source without what depends on its formatting alone: comments, how statements are separated, and a
// comma at the end of a list.
func normalize(source string) []string {
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("", -1, len(source)), []byte(source), nil, 0)
	var tokens []string
	for {
		_, kind, literal := s.Scan()
		text := kind.String()
		switch {
		case kind == token.SEMICOLON || kind == token.EOF:
		case literal != "":
			text = literal
		}
		if n := len(tokens); n > 0 && endsList(kind) && (tokens[n-1] == ";" || tokens[n-1] == ",") {
			tokens = tokens[:n-1]
		}
		if kind == token.EOF {
			return tokens
		}
		tokens = append(tokens, text)
	}
}

func endsList(kind token.Token) bool {
	return slices.Contains([]token.Token{token.RPAREN, token.RBRACE, token.RBRACK, token.EOF}, kind)
}

func (t *tree) offset(pos token.Pos) int { return t.files.Position(pos).Offset }

func (t *tree) places(of []match) string {
	places := make([]string, len(of))
	for i, m := range of {
		position := t.files.Position(m.node.Pos())
		places[i] = fmt.Sprintf("%s:%d", position.Filename, position.Line)
	}
	return strings.Join(places, ", ")
}
