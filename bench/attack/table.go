package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// row is one figure, and the bound that it has to hold; without one it only
// says how things are.
type row struct {
	figure, value, bound, more, load string
	broken                           bool
}

// table is what the program is for.
type table struct {
	rows []row
	log  io.Writer // says each row at once, since the next takes a while
}

// add adds a figure, with the load that the machine has now.
func (t *table) add(r row) {
	b, _ := os.ReadFile("/proc/loadavg") // without it the column is empty
	r.load, _, _ = strings.Cut(string(b), " ")
	t.rows = append(t.rows, r)
	fmt.Fprintf(t.log, "%s: %s, bound %q (%s) load %s\n", r.figure, r.value, r.bound, r.more, r.load)
}

// none adds a count that has to be 0.
func (t *table) none(figure string, n int, more string) {
	t.add(row{figure: figure, value: fmt.Sprint(n), bound: "0", more: more, broken: n != 0})
}

// grown adds by how many bytes memory grew.
func (t *table) grown(figure string, before, after, most int64, more string) {
	t.add(row{
		figure: figure, value: fmt.Sprintf("%.1f MB", float64(after-before)/1e6), bound: fmt.Sprintf("at most %.0f MB", float64(most)/1e6),
		more: fmt.Sprintf("%d MB before; %s", before/1e6, more), broken: after-before > most,
	})
}

// print writes the table, as Markdown that also reads well as it is.
func (t *table) print(w io.Writer) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(tw, "| figure\t| counted\t| bound\t| beside it\t| load\t|")
	fmt.Fprintln(tw, "| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, r := range t.rows {
		if r.broken {
			r.bound += ": BROKEN"
		}
		fmt.Fprintf(tw, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.figure, r.value, r.bound, r.more, r.load)
	}
	tw.Flush()
}

// verdict is an error when a bound was broken.
func (t *table) verdict() error {
	var broken []string
	for _, r := range t.rows {
		if r.broken {
			broken = append(broken, r.figure)
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return fmt.Errorf("%d bounds are broken: %s", len(broken), strings.Join(broken, "; "))
}
