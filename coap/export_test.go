package coap

// Boards is how many devices the presenter remembers.
func (s *Server) Boards() int {
	s.presenter.mu.Lock()
	defer s.presenter.mu.Unlock()
	return len(s.presenter.boards)
}
