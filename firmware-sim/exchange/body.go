package exchange

import (
	"bytes"
	"errors"
	"slices"

	"behest/firmware-sim/message"
)

// bodyBytesMax bounds what is put together from blocks: an open list of 18
// commands with the largest params, 64 KiB each, fits.
const bodyBytesMax = 2 << 20

// ErrChanged means that the blocks of a body belong to different states of the
// resource: ask anew.
var ErrChanged = errors.New("the blocks do not belong together")

// ErrTooLong means that a body is longer than a device can hold.
var ErrTooLong = errors.New("the body is too long")

// Body is a body that comes in blocks [RFC 7959 2.4].
type Body struct {
	content []byte
	etag    []byte
	block   message.Block // the last one that came
}

// NewBody begins with the first response or notification.
func NewBody(m message.Message) (*Body, error) {
	b := &Body{content: slices.Clone(m.Payload)}
	b.block, _ = m.Options.Block(message.Block2)
	b.etag, _ = m.Options.Bytes(message.ETag)
	if b.block.Num != 0 || (b.block.More && len(m.Payload) != b.block.Bytes()) {
		return nil, ErrChanged
	}
	return b, nil
}

// Next is the block to ask for, or false when the body is whole.
func (b *Body) Next() (message.Block, bool) {
	return message.Block{Num: uint32(len(b.content) / b.block.Bytes()), Size: b.block.Size}, b.block.More
}

// Add adds the next block.
func (b *Body) Add(m message.Message) error {
	block, ok := m.Options.Block(message.Block2)
	etag, _ := m.Options.Bytes(message.ETag)
	switch {
	case !ok, int(block.Num)*block.Bytes() != len(b.content), !bytes.Equal(etag, b.etag):
		return ErrChanged
	case block.More && len(m.Payload) != block.Bytes():
		return ErrChanged
	case len(b.content)+len(m.Payload) > bodyBytesMax:
		return ErrTooLong
	}
	b.content = append(b.content, m.Payload...)
	b.block = block
	return nil
}

// Bytes is the body so far.
func (b *Body) Bytes() []byte { return b.content }
