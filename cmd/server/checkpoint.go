package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"behest/command"
	"behest/store/sqlite"
)

// Limits of checkpoints in files.
const (
	checkpointEveryMin = time.Second
	checkpointEveryMax = 31 * 24 * time.Hour // what is not signed for longer is not worth the name
	keptBytesMax       = 128 << 20           // thirty years of one an hour
	checkpointWithin   = 10 * time.Second    // a last one must not hold up the end for longer
)

func checkEvery(d time.Duration) error {
	if d < checkpointEveryMin || d > checkpointEveryMax {
		return fmt.Errorf("checkpoint-every: %s is not from %s to %s", d, checkpointEveryMin, checkpointEveryMax)
	}
	return nil
}

// checkpointFile is where checkpoints are appended, each a line.
type checkpointFile struct {
	f    *os.File
	last []byte // the last line, its end included; nil: there is none
}

// openCheckpointFile opens the file that was asked for. What a crash left of a
// line is taken off; what does not end in a checkpoint, and one that this log
// cannot go on from, are refused.
func (s *system) openCheckpointFile(ctx context.Context) error {
	path := s.config.CheckpointFile
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("checkpoint-file: %w", err)
	}
	s.kept = &checkpointFile{f: f}
	whole, half, err := s.kept.load()
	if err == nil {
		err = s.continues(ctx)
	}
	if err == nil && half {
		err = f.Truncate(whole)
	}
	if err != nil {
		return fmt.Errorf("checkpoint-file: %s: %w", path, err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("checkpoint-file: %w", err)
	}
	return errors.Join(d.Sync(), d.Close()) // its name is to stay, too
}

// continues answers nil when the log may go on where the file ends. A file that
// held lines of two logs, or of two courses of one, would vouch for neither.
func (s *system) continues(ctx context.Context) error {
	if s.kept.last == nil {
		return nil
	}
	last, err := command.ParseCheckpoint(s.kept.last[:len(s.kept.last)-1])
	if err != nil {
		return fmt.Errorf("its last line is no checkpoint: %w", err)
	}
	log, err := s.store.LogNumber(ctx)
	if err != nil {
		return err
	}
	if last.Log != log {
		return fmt.Errorf("it holds checkpoints of another log, %.8x..., and the log of %s is %.8x...: name another file, or put back the database that it belongs to",
			last.Log, s.config.path(databaseFile), log)
	}
	end, err := s.store.End(ctx)
	if err != nil {
		return err
	}
	if after, err := s.store.RestoredAfter(ctx, last.At); err != nil {
		return err
	} else if after.N < last.At.N {
		return fmt.Errorf("its last checkpoint is of event %s, and the store was restored after event %s: keep the file elsewhere and name another", last.At, after)
	}
	if last.At.N > end.N {
		return fmt.Errorf("its last checkpoint is of event %s, and the log ends with event %s: an older copy of the database was put back, or its end was cut off; if you did that, keep the file elsewhere and name another",
			last.At, end)
	}
	return nil
}

// load reads the last line, and answers where it ends and whether there is half
// of another after it. Two lines fit in what it reads of the end of the file.
func (k *checkpointFile) load() (whole int64, half bool, err error) {
	info, err := k.f.Stat()
	if err != nil {
		return 0, false, err
	}
	from := max(info.Size()-2*(command.CheckpointLineMax+1), 0)
	tail, err := io.ReadAll(io.NewSectionReader(k.f, from, info.Size()-from))
	if err != nil {
		return 0, false, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 && from > 0 {
		return 0, false, errors.New("it does not end in checkpoints")
	}
	if end > 0 {
		k.last = tail[bytes.LastIndexByte(tail[:end-1], '\n')+1 : end]
	}
	return from + int64(end), end < len(tail), nil
}

// add appends c, on disk, unless the file ends with it.
func (k *checkpointFile) add(c command.Checkpoint) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if bytes.Equal(line, k.last) {
		return nil
	}
	info, err := k.f.Stat()
	if err != nil {
		return err
	}
	if _, err := k.f.Write(line); err != nil {
		return errors.Join(err, k.f.Truncate(info.Size())) // half a line would spoil the next
	}
	if err := k.f.Sync(); err != nil {
		return err // it is tried again, and a line twice does no harm
	}
	k.last = line
	return nil
}

// sign signs the log from time to time: into the log itself, for all who
// follow it, and to the file, if there is one; there also at the start, for
// what a crash kept from it, and at the end.
func (s *system) sign(ctx context.Context) error {
	tick := time.NewTicker(s.config.CheckpointEvery)
	defer tick.Stop()
	if s.kept != nil {
		s.signOnce(ctx)
	}
	for {
		select {
		case <-tick.C:
			s.signOnce(ctx)
		case <-ctx.Done():
			if s.kept != nil {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointWithin)
				defer cancel()
				s.signOnce(ctx)
			}
			return nil
		}
	}
}

func (s *system) signOnce(ctx context.Context) {
	c, err := s.store.LogCheckpoint(ctx, s.clock.Now())
	if command.CodeOf(err) == command.CodeNotFound {
		return // nothing has happened yet
	}
	if err != nil {
		s.log.Error("signing a checkpoint of the log; it is tried again", "err", err)
		return
	}
	if s.kept == nil {
		return
	}
	if err := s.kept.add(c); err != nil {
		s.log.Error("a checkpoint of the log did not come into the file; it is tried again", "file", s.config.CheckpointFile, "event", c.At.String(), "err", err)
	}
}

// readKept reads checkpoints that were kept, and the keys that may have signed
// them.
func readKept(path string, keys []string) (kept sqlite.Kept, err error) {
	if kept.Lines, err = readBounded(path, keptBytesMax); err != nil {
		return kept, err
	}
	for _, name := range keys {
		key, err := readBounded(name, ed25519.PublicKeySize)
		if err == nil && len(key) != ed25519.PublicKeySize {
			err = fmt.Errorf("%s is no public key: it has %d bytes, not %d", name, len(key), ed25519.PublicKeySize)
		}
		if err != nil {
			return kept, err
		}
		kept.Keys = append(kept.Keys, key)
	}
	return kept, nil
}

func readBounded(path string, bytesMax int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err == nil && int64(len(b)) > bytesMax {
		err = fmt.Errorf("%s has over %d bytes", path, bytesMax)
	}
	return b, err
}
