package endpoint

// answerChunkBytes is the unit in which the log of answers grows.
const answerChunkBytes = 64 << 10

// answerRef is where an answer lies; the zero value is nowhere.
type answerRef struct {
	chunk uint32 // counted from 1 for ever
	at    uint16
	n     uint16
}

// answerLog keeps the last answers in a ring of chunks without pointers to
// them: the oldest chunk is overwritten when the log is full, and who asks for
// an answer in it is told that it is gone.
type answerLog struct {
	chunks [][]byte // grows to max, then goes round
	max    int
	last   uint32 // number of the chunk that is being filled; 0: none yet
	used   int    // bytes of it
}

func newAnswerLog(bytesMax int) *answerLog {
	return &answerLog{max: max(bytesMax/answerChunkBytes, 1)}
}

func (l *answerLog) slot(chunk uint32) int { return int((chunk - 1) % uint32(l.max)) }

// put copies an answer of at most a chunk into the log.
func (l *answerLog) put(b []byte) answerRef {
	if l.last == 0 || l.used+len(b) > answerChunkBytes {
		if l.last++; l.slot(l.last) == len(l.chunks) {
			l.chunks = append(l.chunks, make([]byte, answerChunkBytes))
		}
		l.used = 0
	}
	at := l.used
	l.used += copy(l.chunks[l.slot(l.last)][at:], b)
	return answerRef{chunk: l.last, at: uint16(at), n: uint16(len(b))}
}

// get returns an answer, good until the next put, or nil.
func (l *answerLog) get(r answerRef) []byte {
	if r.chunk == 0 || l.last-r.chunk >= uint32(l.max) {
		return nil
	}
	return l.chunks[l.slot(r.chunk)][r.at:][:r.n]
}
