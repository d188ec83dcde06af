package main

// This file reads the files of configDirs from disk. It opens only directories and regular files,
// and does not judge what is in them.

import (
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// No system has nearly as much. What exceeds a limit counts as what can't be read.
const (
	configFileMax  = 1 << 20  // bytes of one file
	configTotalMax = 16 << 20 // bytes of all files
	configFilesMax = 5000     // files
	configDirMax   = 2000     // entries of one directory
)

// readConfigFiles reads the files in configDirs below root, which is "" except in tests. It ignores
// what does not exist or is no regular file. unread has an error for each file and directory that
// it can't read.
func readConfigFiles(root string) (files []configFile, unread []error) {
	r := configReader{root: root, left: configTotalMax}
	for _, dir := range configDirs {
		r.readDir(dir)
	}
	return r.files, r.unread
}

// A configReader has what has been read so far.
type configReader struct {
	root   string
	left   int         // bytes until configTotalMax; -1 once it was exceeded
	dirs   [][2]uint64 // the directories that have been read: device and inode
	files  []configFile
	unread []error
}

// readDir reads the files in dir, and the drop-ins in the directories below it.
func (r *configReader) readDir(dir string) {
	names, err := r.listDir(dir)
	r.noteUnread(dir, err)
	if len(names) > configDirMax {
		r.noteUnread(dir, errorf("more than %d entries", configDirMax))
		names = names[:configDirMax]
	}
	for _, name := range names {
		path := dir + "/" + name
		switch {
		case kindOf(path) != kindNone:
			r.readFile(path)
		case isDropInDir(path) && slices.Contains(configDirs, dir):
			r.readDir(path)
		}
	}
}

// listDir lists the names in dir. It lists none where dir has been read by another path, as where
// /lib is a link to /usr/lib.
func (r *configReader) listDir(dir string) (names []string, err error) {
	fd, err := openReadOnly(r.root+dir, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	id := [2]uint64{uint64(stat.Dev), stat.Ino}
	if slices.Contains(r.dirs, id) {
		return nil, nil
	}
	r.dirs = append(r.dirs, id)
	b := make([]byte, 1<<14)
	for len(names) <= configDirMax {
		n, err := unix.ReadDirent(fd, b)
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(b[:n], -1, names)
	}
	return names, nil
}

// readFile reads a regular file, or /dev/null as an empty file.
func (r *configReader) readFile(path string) {
	text, ok, err := readRegularFile(r.root+path, configFileMax+1)
	r.noteUnread(path, err)
	switch {
	case !ok || r.left < 0:
		return
	case len(text) > configFileMax:
		r.noteUnread(path, errorf("more than %d bytes", configFileMax))
		return
	case len(text) > r.left || len(r.files) == configFilesMax:
		r.noteUnread(path, errorf("more than %d bytes or %d files in all",
			configTotalMax, configFilesMax))
		r.left = -1
		return
	}
	r.left -= len(text)
	r.files = append(r.files, configFile{path, text})
}

// noteUnread adds err to unread, unless it says that path leads nowhere: no program can read that.
func (r *configReader) noteUnread(path string, err error) {
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) {
		return
	}
	r.unread = append(r.unread, &fs.PathError{Op: "read", Path: path, Err: err})
}

// readRegularFile reads up to most bytes of the file that path leads to. ok is false where it
// can't be read, or is neither a regular file nor /dev/null. No other file is opened, because that
// can have an effect: a watchdog starts. A FIFO that replaces the file after the check does not
// block, because of O_NONBLOCK.
func readRegularFile(path string, most int) (text []byte, ok bool, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, false, err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == unix.Mkdev(1, 3) {
		return nil, true, nil // /dev/null: Documentation/admin-guide/devices.txt of the kernel
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, false, nil
	}
	fd, err := openReadOnly(path, unix.O_NONBLOCK|unix.O_NOCTTY)
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
			break // the file has become shorter
		}
		got += max(n, 0)
	}
	return text[:got], true, nil
}

// openReadOnly opens a file or directory for reading.
func openReadOnly(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
