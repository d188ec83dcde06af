package main

// This file reads the files that pins.go judges, whatever stands in their place.
import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// Far more than any system has; what is beyond is not read, and named.
const (
	configFileMax   = 1 << 20  // bytes of one file
	configTotalMax  = 16 << 20 // bytes of all files
	configFilesMax  = 5000     // files
	configFolderMax = 2000     // entries of one folder
)

// readConfigFiles reads the files of configFolders below root, which is "" but in tests. What is
// not there, or is no regular file, is passed over. For what can't be read there is one warning
// each.
func readConfigFiles(root string) (files []configFile, warnings []error) {
	r := configReader{root: root, left: configTotalMax}
	for _, folder := range configFolders {
		r.readFolder(folder)
	}
	return r.files, r.warnings
}

// A configReader is what has been read so far.
type configReader struct {
	root     string
	left     int         // bytes that may be read yet
	folders  [][2]uint64 // that have been read: device and inode
	files    []configFile
	warnings []error
}

// readFolder reads the files of a folder, and the drop-ins in those below.
func (r *configReader) readFolder(folder string) {
	names, err := r.list(folder)
	r.warn("read", folder, err)
	if len(names) > configFolderMax {
		r.warn("read", folder, fmt.Errorf("more than %d entries: the rest is not read",
			configFolderMax))
		names = names[:configFolderMax]
	}
	for _, name := range names {
		p := folder + "/" + name
		switch {
		case kindOf(p) != kindNone:
			r.readFile(p)
		case dropInFolder(p) && slices.Contains(configFolders, folder):
			r.readFolder(p)
		}
	}
}

// list is the names in a folder. One that has been read under another name, as where /lib is a link
// to /usr/lib, has none.
func (r *configReader) list(folder string) (names []string, err error) {
	fd, err := openConfig(r.root+folder, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	same := [2]uint64{uint64(stat.Dev), stat.Ino}
	if slices.Contains(r.folders, same) {
		return nil, nil
	}
	r.folders = append(r.folders, same)
	b := make([]byte, 1<<14)
	for len(names) <= configFolderMax {
		n, err := unix.ReadDirent(fd, b)
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(b[:n], -1, names)
	}
	return names, nil
}

// readFile reads a file if it is a regular one, or /dev/null, which is empty.
func (r *configReader) readFile(p string) {
	text, ok, err := readRegular(r.root+p, min(configFileMax, r.left+1))
	r.warn("read", p, err)
	switch {
	case !ok || r.left < 0:
		return
	case len(text) > r.left || len(r.files) == configFilesMax:
		r.warn("read", p, fmt.Errorf("more than %d bytes or %d files in all: the rest is not read",
			configTotalMax, configFilesMax))
		r.left = -1
		return
	}
	r.left -= len(text)
	r.files = append(r.files, configFile{p, text})
}

// warn notes err, unless it says that something is not there.
func (r *configReader) warn(op, p string, err error) {
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return
	}
	r.warnings = append(r.warnings, &fs.PathError{Op: op, Path: p, Err: err})
}

// readRegular reads up to most bytes of what name leads to. Not ok: it can't be read, or it is
// neither a regular file nor /dev/null. Nothing else is opened, as that can have effects of its own
// (a watchdog starts). What takes the file's place meanwhile is not waited for (a FIFO).
func readRegular(name string, most int) (text []byte, ok bool, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(name, &stat); err != nil {
		return nil, false, err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == unix.Mkdev(1, 3) {
		return nil, true, nil // /dev/null: Documentation/admin-guide/devices.txt of the kernel
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, false, nil
	}
	fd, err := openConfig(name, unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, false, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, false, err
	}
	text = make([]byte, min(int(stat.Size), most))
	got := 0
	for got < len(text) {
		n, err := unix.Read(fd, text[got:])
		if err != nil && err != unix.EINTR {
			return nil, false, err
		}
		if n <= 0 && err == nil {
			break // it has become shorter
		}
		got += max(n, 0)
	}
	return text[:got], true, nil
}

// openConfig opens name for reading.
func openConfig(name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
