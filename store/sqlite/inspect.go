package sqlite

import (
	"context"
	"fmt"
	"os"
)

// quickCheckMax bounds the file that is checked page by page when it is
// opened: some tenths of a second. The rest is for Check.
const quickCheckMax = 64 << 20

// inspect looks for damage before the file is used.
func (w *writer) inspect() error {
	info, err := os.Stat(w.s.path)
	if err != nil || info.Size() > quickCheckMax {
		return err
	}
	r, err := w.conn.one(context.Background(), "PRAGMA quick_check(1)")
	if err != nil {
		return err
	}
	if r.text(0) != "ok" {
		return fmt.Errorf("it is damaged; restore a backup: %s", r.text(0))
	}
	return nil
}
