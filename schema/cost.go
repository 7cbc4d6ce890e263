package schema

import (
	"behest/cbor"
	"behest/command"
)

// What a schema costs is reckoned when it is declared. A step is one schema
// looking at one value. Of each level of a value, the most steps that one value
// there can take are known beforehand; times the number of values, that bounds
// the whole. Without the bound, a kilobyte of schemas that name each other
// twice takes an hour to say that 1 is an integer.
const (
	// A step takes up to 0.6 µs. With a thousand values in params of 1 KiB, or
	// 64 thousand in those of 64 KiB, either comes to about a second at the very worst.
	stepsSmallMax = 1024
	stepsLargeMax = 64
	stepsTopMax   = 16 << 10 // on the value as a whole, of which there is one

	stepsOfNumber       = 2  // for a keyword that calculates
	instructionsPerStep = 8  // of a pattern, each at one byte
	namesPerStep        = 8  // looked up in an object
	tallMax             = 64 // schemas on one value within each other; the library walks them for each

	depths = cbor.DepthMax
)

// steps are the most that one value takes, by its level below the first.
type steps [depths + 1]int32

// add adds s to t, level by level, down levels below. It stops counting where
// nothing is accepted any more.
func (t *steps) add(s *steps, below int) {
	for i := range depths + 1 - below {
		t[i+below] = min(t[i+below]+s[i], stepsTopMax+1)
	}
}

func (t *steps) atLeast(s *steps) {
	for i := range t {
		t[i] = max(t[i], s[i])
	}
}

// cost names what makes a document too dear.
func (a *atlas) cost(large bool) []command.Field {
	for _, p := range a.inOrder {
		if !p.measure() {
			a.fault(p.at, "comes back to itself on the same value, without end, or nests over %d deep there", tallMax)
			return a.faults
		}
	}
	var worst steps
	for k := range kindsEnd {
		worst.atLeast(a.inOrder[0].count(depths, k))
	}
	most, what := int32(stepsTopMax), "the value as a whole"
	for i := range worst {
		if worst[i] > most {
			a.fault("", "may take over %d steps for %s: say it with fewer alternatives, or with fewer references between them", most, what)
			break
		}
		if most, what = stepsSmallMax, "a value within"; large {
			most = stepsLargeMax
		}
	}
	return a.faults
}

// underWay marks a place whose height is being measured.
const underWay = -1

// measure sets how many schemas look at the same value within each other from
// p down, and answers false if that has no end, or is too many.
func (p *place) measure() bool {
	switch {
	case p.tall == underWay:
		return false
	case p.tall > 0:
		return true
	}
	p.tall = underWay
	tall := 0
	for _, to := range p.same {
		if !to.measure() {
			return false
		}
		tall = max(tall, to.tall)
	}
	p.tall = tall + 1
	return p.tall <= tallMax
}

// count is the most steps for a value of kind k, which has at most so many
// levels, and for those within it.
func (p *place) count(levels, k int) *steps {
	n := &p.steps[levels][k]
	if n[0] > 0 { // counted
		return n
	}
	if p.lets&(1<<k) == 0 {
		n[0] = 1 // it looks no further than at the type
		return n
	}
	sum := steps{int32(min(1+p.own, stepsTopMax+1))}
	for _, to := range p.same {
		sum.add(to.count(levels, k), 0)
	}
	switch {
	case levels == 0:
	case k == array:
		sum.inside(p.array, levels-1)
		sum.inside([][]*place{p.items}, levels-1)
	case k == object:
		sum.inside(p.table, levels-1)
		sum.inside([][]*place{p.props}, levels-1)
	}
	*n = sum
	return n
}

// inside adds what a value in an array or object takes: of each group the most
// of any.
func (t *steps) inside(groups [][]*place, levels int) {
	for _, group := range groups {
		var worst steps
		for _, p := range group {
			for k := range kindsEnd {
				if levels > 0 || k == scalar {
					worst.atLeast(p.count(levels, k))
				}
			}
		}
		t.add(&worst, 1)
	}
}
