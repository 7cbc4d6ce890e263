package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"behest/command/dispatch"
	"behest/device/vault"
)

// deviceKeysFile holds the master keys that the devices' credentials are sealed
// with. Without it they are lost; with it and the database they are known: it is
// to be kept, and apart.
const deviceKeysFile = "device-keys"

const deviceKeysHead = `# The keys that seal the credentials of devices: VERSION KEY, the first one seals.
# Keep a copy, apart from copies of the database: without it no device comes in
# with its secret any more. "server rekey" puts another key first.
`

// deviceKeysAdvised is what to do about keys that are not there, or others.
const deviceKeysAdvised = "bring back the file that goes with the database from its copy, or start once with --reset-device-keys, which revokes every secret that does not open: those devices need others"

// openDoor opens the door where devices prove who they are.
func (s *system) openDoor(ctx context.Context) error {
	path := s.config.path(deviceKeysFile)
	keys, err := readDeviceKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = s.firstDeviceKey(ctx, path)
	}
	if err != nil {
		return err
	}
	s.door, err = s.newDoor(ctx, keys, false)
	if !errors.As(err, new(*dispatch.MisfitError)) {
		return err
	}
	if !s.config.ResetDeviceKeys {
		return fmt.Errorf("%s does not go with the database: %w: %s", path, err, deviceKeysAdvised)
	}
	if !s.firstKey {
		keys, err = s.anotherDeviceKey(ctx, path, keys)
		if err != nil {
			return err
		}
	}
	s.keysLost = true
	s.door, err = s.newDoor(ctx, keys, true)
	return err
}

func (s *system) newDoor(ctx context.Context, keys *vault.Keys, lost bool) (*dispatch.Door, error) {
	return dispatch.NewDoor(ctx, s.store, keys, dispatch.DoorOptions{Lost: lost, Now: s.clock.Now, Logger: s.log})
}

// firstDeviceKey makes a key, unless there is something that was sealed with
// another one.
func (s *system) firstDeviceKey(ctx context.Context, path string) (*vault.Keys, error) {
	next, err := dispatch.KeyAfter(ctx, s.store, nil)
	if err != nil {
		return nil, err
	}
	if next > 1 && !s.config.ResetDeviceKeys {
		return nil, fmt.Errorf("%s is not there, and credentials in the database are sealed with its keys: %s", path, deviceKeysAdvised)
	}
	s.firstKey = true
	return putDeviceKeys(path, deviceKeysHead+vault.Line(next))
}

// anotherDeviceKey puts a key first that nothing is sealed with.
func (s *system) anotherDeviceKey(ctx context.Context, path string, keys *vault.Keys) (*vault.Keys, error) {
	next, err := dispatch.KeyAfter(ctx, s.store, keys)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return putDeviceKeys(path, vault.Line(next)+string(text))
}

// putDeviceKeys writes the file, if it can be read again.
func putDeviceKeys(path, text string) (*vault.Keys, error) {
	keys, err := vault.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, keepFile(path, text)
}

func readDeviceKeys(path string) (*vault.Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the keys of credentials: %w", err)
	}
	if mode := info.Mode().Perm(); mode&secretKeyOthers != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that others can read or change it: chmod 600, and if somebody may have read it, rekey and give the devices other secrets", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the keys of credentials: %w", err)
	}
	keys, err := vault.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// keepFile is replaceFile for what must not be lost: it is on the disk, under
// its name, before anything relies on it.
func keepFile(path, content string) (err error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func rekeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rekey", Short: "Put a new key first, for the devices' credentials", Args: noArgs,
		Long: `Put a new key first in DIR/device-keys. From the next start of the server on it
seals what is new, and all that older keys have sealed is sealed anew, while the
server serves. When the server has logged that, the older lines can be removed.
Keep a copy of the file before that start.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, _ := cmd.Flags().GetString("data")
			path := config{Data: data}.path(deviceKeysFile)
			keys, err := readDeviceKeys(path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if _, err := putDeviceKeys(path, vault.Line(keys.Next())+string(text)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %d is first in %s; restart the server\n", keys.Next(), path)
			return err
		},
	}
	cmd.Flags().String("data", "./data", "directory of the database")
	return cmd
}
