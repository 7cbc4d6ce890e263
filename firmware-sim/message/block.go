package message

// Block is the value of a Block1 or Block2 option [RFC 7959 2.2].
type Block struct {
	Num  uint32 // position, in blocks of this size
	More bool
	Size uint8 // exponent: a block holds 1 << (Size + 4) bytes
}

const (
	blockSizeReserved = 7       // [RFC 7959 2.2]
	blockNumMax       = 1 << 20 // a block option has three bytes
)

// Bytes is how much a block holds.
func (b Block) Bytes() int { return 1 << (b.Size + 4) }

// Option makes the option that carries b.
func (b Block) Option(n Number) Option {
	v := b.Num<<4 | uint32(b.Size)
	if b.More {
		v |= 8
	}
	return Uint(n, v)
}

// Block reads the first option of this number as a block. One that is longer
// than three bytes, or of the reserved size, counts as absent.
func (o Options) Block(n Number) (Block, bool) {
	v, ok := o.Uint(n)
	b := Block{Num: v >> 4, More: v&8 != 0, Size: uint8(v & 7)}
	if !ok || b.Num >= blockNumMax || b.Size == blockSizeReserved {
		return Block{}, false
	}
	return b, true
}
