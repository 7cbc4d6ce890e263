package endpoint

// slab holds entries of one kind by number. It grows a chunk at a time: an entry
// stays where it is, and a crowd leaves no copies of a smaller slab behind. Entries
// without pointers cost the garbage collector nothing. Number 0 is none.
type slab[T any] struct {
	chunks [][]T
	n      uint32 // numbers that were given, 0 included
}

const (
	slabBits  = 9
	slabChunk = 1 << slabBits
	// slabKeep is the size of slab that is kept when the last entry is gone. What
	// a crowd made it grow to goes with the crowd.
	slabKeep = 4096
)

func newSlab[T any]() slab[T] {
	return slab[T]{chunks: [][]T{make([]T, slabChunk)}, n: 1}
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>slabBits][i%slabChunk] }

// grow gives the number of an entry more.
func (s *slab[T]) grow() uint32 {
	if s.n>>slabBits == uint32(len(s.chunks)) {
		s.chunks = append(s.chunks, make([]T, slabChunk))
	}
	s.n++
	return s.n - 1
}
