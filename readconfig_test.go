package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A configRoot is a folder with files as below /.
type configRoot struct {
	t    *testing.T
	root string
}

// at is a path in it, whose folder is there.
func (c configRoot) at(path string) string {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.root+path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	return c.root + path
}

// write makes a file.
func (c configRoot) write(path, text string) {
	c.t.Helper()
	c.done(os.WriteFile(c.at(path), []byte(text), 0o644))
}

// done ends the test on an error.
func (c configRoot) done(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// expect reads all, and compares the paths and the errors, of which each has to have one of words.
func (c configRoot) expect(paths []string, words ...string) map[string]string {
	c.t.Helper()
	files, unread := readConfigFiles(c.root)
	texts := map[string]string{}
	var got []string
	for _, f := range files {
		got = append(got, f.path)
		texts[f.path] = string(f.text)
	}
	slices.Sort(got)
	slices.Sort(paths)
	if !slices.Equal(got, paths) {
		c.t.Errorf("readConfigFiles() = %q, want %q", got, paths)
	}
	if len(unread) != len(words) {
		c.t.Fatalf("readConfigFiles(): unread %v, want %q", unread, words)
	}
	for i, w := range unread {
		if !strings.Contains(w.Error(), words[i]) {
			c.t.Errorf("readConfigFiles(): unread %v, want %q", w, words[i])
		}
	}
	return texts
}

func TestReadConfigFiles(t *testing.T) {
	c := configRoot{t, t.TempDir()}
	c.expect(nil)
	for _, path := range []string{
		"/etc/systemd/network/a.network", "/etc/systemd/network/a.network.d/b.conf", "/etc/systemd/network/c.link",
		"/run/systemd/network/d.network", "/usr/local/lib/systemd/network/e.network", "/usr/lib/systemd/network/f.link.d/f.conf",
		"/etc/udev/rules.d/g.rules", "/run/udev/rules.d/h.rules", "/lib/udev/rules.d/i.rules",
		"/run/NetworkManager/system-connections/j.nmconnection", "/etc/NetworkManager/system-connections/k",
		"/etc/sysconfig/network-scripts/ifcfg-l",

		"/etc/systemd/network/a.netdev", "/etc/systemd/network/a.network.d/b.network", "/etc/systemd/network/m.d/m.conf",
		"/etc/systemd/network/a.network.d/n.network.d/n.conf", "/etc/udev/rules.d/README", "/etc/netplan/o.yaml",
		"/etc/sysconfig/network-scripts/ifup", "/etc/network/interfaces",
	} {
		c.write(path, path)
	}
	texts := c.expect([]string{
		"/etc/systemd/network/a.network", "/etc/systemd/network/a.network.d/b.conf", "/etc/systemd/network/c.link",
		"/run/systemd/network/d.network", "/usr/local/lib/systemd/network/e.network", "/usr/lib/systemd/network/f.link.d/f.conf",
		"/etc/udev/rules.d/g.rules", "/run/udev/rules.d/h.rules", "/lib/udev/rules.d/i.rules",
		"/run/NetworkManager/system-connections/j.nmconnection", "/etc/NetworkManager/system-connections/k",
		"/etc/sysconfig/network-scripts/ifcfg-l",
	})
	for path, text := range texts {
		if text != path {
			t.Errorf("%s has %q", path, text)
		}
	}
}

// What is no regular file costs nothing, whatever it is called.
func TestReadConfigFilesOdd(t *testing.T) {
	c := configRoot{t, t.TempDir()}
	const folder = "/etc/systemd/network/"
	c.done(unix.Mkfifo(c.at(folder+"fifo.network"), 0o644))
	c.done(os.Symlink("/dev/zero", c.at(folder+"zero.network")))
	c.done(os.Symlink("/dev/null", c.at(folder+"null.network")))
	c.done(os.Symlink("nowhere", c.at(folder+"dangling.network")))
	c.done(os.Symlink("loop.network", c.at(folder+"loop.network")))
	c.done(os.Mkdir(c.at(folder+"folder.network"), 0o755))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	c.done(err)
	defer unix.Close(fd)
	here, err := os.Getwd()
	c.done(err)
	t.Chdir(c.root + folder) // a socket's path has at most 108 bytes
	c.done(unix.Bind(fd, &unix.SockaddrUnix{Name: "socket.network"}))
	t.Chdir(here)
	c.write("/etc/udev/rules.d", "no folder")
	c.write(folder+"large.network", strings.Repeat("x", 5<<20))
	c.expect([]string{folder + "null.network"}, "large.network: more than 1048576 bytes")
}

func TestReadConfigFilesForbidden(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	c := configRoot{t, t.TempDir()}
	c.write("/etc/systemd/network/a.network", "")
	c.write("/etc/systemd/network/b.network", "")
	c.done(os.Chmod(c.at("/etc/systemd/network/a.network"), 0))
	c.write("/run/udev/rules.d/c.rules", "")
	c.done(os.Chmod(c.at("/run/udev/rules.d"), 0))
	defer os.Chmod(c.root+"/run/udev/rules.d", 0o755)
	c.expect([]string{"/etc/systemd/network/b.network"}, "a.network: permission denied", "/run/udev/rules.d: permission denied")
}

// /lib is a link to /usr/lib: what is there is read once.
func TestReadConfigFilesTwice(t *testing.T) {
	c := configRoot{t, t.TempDir()}
	c.write("/usr/lib/udev/rules.d/a.rules", "")
	c.done(os.Symlink("usr/lib", c.at("/lib")))
	c.expect([]string{"/usr/lib/udev/rules.d/a.rules"})
}

func TestReadConfigFilesTooMany(t *testing.T) {
	c := configRoot{t, t.TempDir()}
	large := strings.Repeat("x", configFileMax)
	for i := range configTotalMax/configFileMax + 2 {
		c.write("/etc/udev/rules.d/"+string(rune('a'+i))+".rules", large)
	}
	files, unread := readConfigFiles(c.root)
	if len(files) != configTotalMax/configFileMax || len(unread) != 1 {
		t.Errorf("%d large files, %v, want %d and an error", len(files), unread, configTotalMax/configFileMax)
	}
	for i := range configDirMax {
		c.done(os.Symlink("nowhere", c.at("/run/udev/rules.d/"+strings.Repeat("y", i%200)+string(rune('a'+i/200))+".rules")))
	}
	c.write("/run/udev/rules.d/one-more.rules", "")
	if _, unread := readConfigFiles(c.root); len(unread) != 2 || !strings.Contains(unread[1].Error(), "more than 2000 entries") {
		t.Errorf("%v, want two errors", unread)
	}
}
