package endpoint

import "fmt"

// Check returns an error when the endpoint's tables contradict each other.
func (e *Endpoint) Check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.peers.check(); err != nil {
		return err
	}
	pins, running, frozen := map[uint32]int{}, map[uint32]int{}, map[uint32]int{}
	for _, j := range e.jobs.slots {
		if j != nil {
			pins[j.g.peer]++
			running[j.g.peer]++
		}
	}
	n := 0
	for i := range e.exchanges.slab {
		x := e.exchanges.at(uint32(i))
		if x.state == exchangeFree {
			continue
		}
		n++
		pins[x.peer]++
		onLane := e.peers.at(x.peer).lanes[x.lane] == uint32(i)
		if onLane != (x.state == exchangeRunning) {
			return fmt.Errorf("exchange %d in state %d, on its lane: %t", i, x.state, onLane)
		}
	}
	if n != e.exchanges.len() {
		return fmt.Errorf("%d exchanges, counted %d", n, e.exchanges.len())
	}
	remembered := 0
	for i := range e.peers.slab.n {
		p := e.peers.at(i)
		if remembered += int(p.repeats); p.repeats > 0 && e.peers.find(p.key) != i {
			return fmt.Errorf("peer %d is gone, and %d of its requests are not", i, p.repeats)
		}
	}
	if remembered != e.repeats.len() {
		return fmt.Errorf("peers have %d requests of %d", remembered, e.repeats.len())
	}
	for i := range e.downloads.slab {
		if x := e.downloads.at(uint32(i)); x.frozen {
			frozen[x.peer]++
		}
	}
	for i := range e.peers.slab.n {
		p := e.peers.at(i)
		if int(p.pins) != pins[i] || int(p.running) != running[i] || int(p.frozen) != frozen[i] {
			return fmt.Errorf("peer %d: %d pins for %d, %d running of %d, %d frozen of %d",
				i, p.pins, pins[i], p.running, running[i], p.frozen, frozen[i])
		}
	}
	return nil
}

// check compares the table's list with its slab.
func (t *peerTable) check() error {
	listed := 0
	for i, prev := t.oldest, uint32(0); i != 0; prev, i = i, t.slab.at(i).next {
		p := t.slab.at(i)
		if p.prev != prev || p.pins != 0 || t.index[p.key] != i {
			return fmt.Errorf("peer %d: prev %d, want %d; pins %d", i, p.prev, prev, p.pins)
		}
		if prev != 0 && t.slab.at(prev).expires > p.expires {
			return fmt.Errorf("peer %d expires after its successor", prev)
		}
		listed++
	}
	pinned := 0
	for _, i := range t.index {
		if t.slab.at(i).pins > 0 {
			pinned++
		}
	}
	if listed+pinned != len(t.index) {
		return fmt.Errorf("%d listed and %d pinned of %d peers", listed, pinned, len(t.index))
	}
	return nil
}
