package schema

import (
	"behest/cbor"
	"behest/command"
)

// What a schema costs is reckoned when it is declared. A step is one schema
// looking at one value. On the way from the top of a value down to one of its
// leaves, the steps at each level add up; the longest way, times the number of
// values, bounds the whole. Without the bound, a kilobyte of schemas that name
// each other twice takes an hour to say that 1 is an integer.
const (
	// With params of 1 KiB, or 64 KiB, either is well under a second.
	stepsOfSmall = 1024
	stepsOfLarge = 128

	instructionsPerStep = 8  // of a pattern, each at one byte
	namesPerStep        = 8  // looked up in an object
	tallMax             = 64 // schemas on one value within each other; the library walks them for each

	depths = cbor.DepthMax
)

func stepsMax(large bool) int {
	if large {
		return stepsOfLarge
	}
	return stepsOfSmall
}

// cost names what makes a document too dear.
func (a *atlas) cost(most int) []command.Field {
	for _, p := range a.inOrder {
		if !p.measure() {
			a.fault(p.at, "comes back to itself on the same value, without end, or nests over %d deep there", tallMax)
			return a.faults
		}
	}
	top := a.inOrder[0]
	worst := 0
	for k := range kindsEnd {
		worst = max(worst, top.count(depths, k, most))
	}
	if worst > most {
		a.fault("", "may take over %d steps for one value: fewer alternatives, please, or fewer references between them", most)
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

// count is the most steps on a way down from a value of kind k, which has at
// most so many levels. It stops counting beyond most.
func (p *place) count(levels, k, most int) int {
	if n := p.steps[levels][k]; n > 0 {
		return n
	}
	n := 1
	if p.lets&(1<<k) != 0 {
		n += p.own
		for _, to := range p.same {
			n = min(n+to.count(levels, k, most), most+1)
		}
		switch {
		case levels == 0:
		case k == array:
			n += inside(p.array, levels-1, most) + inside([][]*place{p.items}, levels-1, most)
		case k == object:
			n += inside(p.table, levels-1, most) + inside([][]*place{p.props}, levels-1, most)
		}
	}
	n = min(n, most+1)
	p.steps[levels][k] = n
	return n
}

// inside is the most steps on a way down from a value in an array or object:
// of each group the dearest.
func inside(groups [][]*place, levels, most int) int {
	n := 0
	for _, group := range groups {
		worst := 0
		for _, p := range group {
			for k := range kindsEnd {
				if levels > 0 || k == scalar {
					worst = max(worst, p.count(levels, k, most))
				}
			}
		}
		n = min(n+worst, most+1)
	}
	return n
}
