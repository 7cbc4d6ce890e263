package schema

// KeptBytesMax and KeptBytes show a test what a Set keeps.
const KeptBytesMax = keptBytesMax

func (s *Set) KeptBytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.kept {
		n += len(c.source)
	}
	return n
}
