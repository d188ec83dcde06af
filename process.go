package main

// This file reads the files that pins.go judges, whatever stands in their place.
import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Far more than any system has; what is beyond is not read, and named.
const (
	configFileMax   = 1 << 20  // bytes of one file
	configTotalMax  = 16 << 20 // bytes of all files
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
	left     int // bytes that may be read yet
	full     bool
	folders  []fs.FileInfo
	files    []configFile
	warnings []error
}

// readFolder reads the files of a folder, and the drop-ins in those below. A folder that has been
// read under another name, as where /lib is a link to /usr/lib, is not read again.
func (r *configReader) readFolder(folder string) {
	for _, name := range r.list(folder) {
		p := folder + "/" + name
		switch {
		case kindOf(p) != kindNone:
			r.readFile(p)
		case dropInFolder(p) && slices.Contains(configFolders, folder):
			r.readFolder(p)
		}
	}
}

// list is the names in a folder, sorted.
func (r *configReader) list(folder string) []string {
	info, err := os.Stat(r.root + folder)
	if err != nil || !info.IsDir() {
		r.warn(err)
		return nil
	}
	if slices.ContainsFunc(r.folders, func(f fs.FileInfo) bool { return os.SameFile(f, info) }) {
		return nil
	}
	r.folders = append(r.folders, info)
	f, err := os.Open(r.root + folder)
	if err != nil {
		r.warn(err)
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(configFolderMax + 1)
	if !errors.Is(err, io.EOF) {
		r.warn(err)
	}
	slices.Sort(names)
	if len(names) > configFolderMax {
		r.warn(fmt.Errorf("%s: more than %d entries: the rest is not read", folder, configFolderMax))
		names = names[:configFolderMax]
	}
	return names
}

// readFile reads a file if it is a regular one, or /dev/null, which is empty.
func (r *configReader) readFile(p string) {
	text, ok, err := readRegular(filepath.Clean(r.root + p))
	r.warn(err)
	if !ok {
		return
	}
	if r.left -= len(text); r.left < 0 {
		if !r.full {
			r.warn(fmt.Errorf("%s: more than %d bytes in all: the rest is not read", p, configTotalMax))
		}
		r.full = true
		return
	}
	r.files = append(r.files, configFile{p, text})
}

// warn notes err, unless it says that something is not there.
func (r *configReader) warn(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		r.warnings = append(r.warnings, err)
	}
}

// readRegular reads up to configFileMax bytes of what name leads to. Not ok: it can't be read, or
// it is neither a regular file nor /dev/null. Nothing else is opened: that can have effects of its
// own (a watchdog starts), or wait for somebody (a FIFO), so O_NONBLOCK is for what takes the
// file's place.
func readRegular(name string) (text []byte, ok bool, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(name, &stat); err != nil {
		return nil, false, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == unix.Mkdev(1, 3) {
		return nil, true, nil // /dev/null: Documentation/admin-guide/devices.txt of the kernel
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, false, nil
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, false, err
	}
	text, err = io.ReadAll(io.LimitReader(f, configFileMax))
	return text, err == nil, err
}
