package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// row is one figure.
type row struct {
	figure, value, aim, more, load string
}

// table is what the program is for.
type table struct {
	rows []row
	log  io.Writer // says each row at once, since the next takes a while
}

// add adds a figure, with the load that the machine has now.
func (t *table) add(figure, value, aim, more string) {
	r := row{figure, value, aim, more, load()}
	t.rows = append(t.rows, r)
	fmt.Fprintf(t.log, "%s: %s (%s) load %s\n", r.figure, r.value, r.more, r.load)
}

// print writes the table, as Markdown that also reads well as it is.
func (t *table) print(w io.Writer) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(tw, "| figure\t| measured\t| aim\t| beside it\t| load\t|")
	fmt.Fprintln(tw, "| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, r := range t.rows {
		fmt.Fprintf(tw, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.figure, r.value, r.aim, r.more, r.load)
	}
	tw.Flush()
}
