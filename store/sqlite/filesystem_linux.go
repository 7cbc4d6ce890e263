package sqlite

import "syscall"

// Filesystems that other machines can write to at the same time. SQLite's log
// needs memory that all its users share, and locks that hold.
const (
	magicNFS    = 0x6969
	magicSMB    = 0x517b
	magicSMB2   = 0xfe534d42
	magicCIFS   = 0xff534d42
	magicAFS    = 0x5346414f
	magicCoda   = 0x73757245
	magicCeph   = 0x00c36400
	magicLustre = 0x0bd00bd0
	magicGFS2   = 0x01161970
	magicOCFS2  = 0x7461636f
)

// networked names the network filesystem that dir is on, or nothing.
func networked(dir string) (string, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "", err
	}
	return filesystemName(uint32(fs.Type)), nil
}

func filesystemName(magic uint32) string {
	switch magic {
	case magicNFS:
		return "NFS"
	case magicSMB, magicSMB2, magicCIFS:
		return "SMB"
	case magicAFS, magicCoda:
		return "AFS"
	case magicCeph:
		return "Ceph"
	case magicLustre:
		return "Lustre"
	case magicGFS2, magicOCFS2:
		return "a cluster filesystem"
	}
	return ""
}
