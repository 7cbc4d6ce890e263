package httpapi

import "sync"

// placesShare is the part of all places that one user may hold, so that there
// are some for the others.
const placesShare = 4

// places bounds what goes on at once.
type places struct {
	mu    sync.Mutex
	free  int
	each  int
	taken map[string]int // by user
}

func newPlaces(n int) *places {
	return &places{free: n, each: max(1, n/placesShare), taken: make(map[string]int)}
}

// take takes a place, if there is one for the user.
func (p *places) take(user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 || p.taken[user] == p.each {
		return false
	}
	p.free--
	p.taken[user]++
	return true
}

func (p *places) leave(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.taken[user]--; p.taken[user] == 0 {
		delete(p.taken, user)
	}
}
