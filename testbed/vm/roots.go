package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// This file makes what is made once: the roots without eni0, and with them the kernels. Whoever
// wants newer ones deletes the cache.

// A root is a Debian that machines boot. What it has besides the needs of one case lies idle in
// that case: a setup says what runs.
type root struct {
	name    string
	suite   string   // "bookworm"
	with    string   // packages beside those that all have
	kernels []string // the beginnings of their releases: "6.1"
	options []string // more of mmdebstrap's
	size    string   // of the disk, which is mostly a hole
	arch    string   // as Go calls it, if it is another than amd64: then only the kernel is of use
}

// The roots. The first is small and boots in the shortest time; its systemd is Amazon Linux 2023's.
var (
	plain = &root{name: "plain", suite: "bookworm", kernels: []string{"6.1", "6.12"}, size: "640M",
		with: "dracut,linux-image-cloud-amd64,linux-image-6.12-cloud-amd64"}
	bookworm = &root{name: "bookworm", suite: "bookworm", kernels: []string{"6.1"}, size: "1G",
		with: "procps,linux-image-cloud-amd64,network-manager,ifupdown,isc-dhcp-client,cloud-init," +
			"netplan.io,amazon-ec2-net-utils,curl,ca-certificates"}
	// The oldest kernel that is tried. Its security updates have ended, and are not all there any more.
	bullseye = &root{name: "bullseye", suite: "bullseye", kernels: []string{"5.10"}, size: "640M",
		with: "linux-image-cloud-amd64",
		// /bin, /lib and so on are folders there, not links as in later ones.
		options: []string{`--customize-hook=cd "$1"; for d in bin sbin lib lib32 lib64 libx32; do ` +
			`if [ -d $d ] && ! [ -L $d ]; then cp -al $d/. usr/$d; rm -r $d; ln -s usr/$d $d; fi; done`,
			`--setup-hook=sed -i /security/d "$1/etc/apt/sources.list"`}}
	trixie = &root{name: "trixie", suite: "trixie", kernels: []string{"6.12"}, size: "1G",
		with: "procps,linux-image-cloud-amd64,network-manager,amazon-ec2-net-utils,curl,ca-certificates"}
	// A testing suite is now and then older than its list says it may be. The kernel is the newest
	// there is.
	forky = &root{name: "forky", suite: "forky", kernels: []string{"7"}, size: "1G",
		with: "procps,linux-image-cloud-amd64/trixie-backports",
		options: []string{`--aptopt=Acquire::Check-Valid-Until "false"`,
			`--setup-hook=sed -i '1{p;s/forky/trixie-backports/}' "$1/etc/apt/sources.list"`}}
)

// graviton is only a kernel and its modules: nothing of another processor can be run here to
// configure a system, and nothing but the kernel needs to be of it.
var graviton = &root{name: "graviton", suite: "bookworm", kernels: []string{"6.1"}, arch: "arm64"}

// systemds are the versions of systemd in the suites.
var systemds = map[string]string{"bullseye": "247", "bookworm": "252", "trixie": "257", "forky": "262"}

// recipe is the command that makes the root, but for where. Documentation is left out.
func (r *root) recipe() []string {
	if r.arch != "" {
		return []string{"mmdebstrap", "--quiet", "--variant=extract", "--format=directory",
			"--architecture=" + r.arch, "--include=linux-image-cloud-" + r.arch,
			// The packages are not configured, which would have made modules.dep, and /lib a link.
			`--extract-hook=mv "$1/lib/modules" "$1/usr/lib"`,
			`--extract-hook=depmod -b "$1/usr" $(ls "$1/usr/lib/modules")`, r.suite}
	}
	command := []string{"mmdebstrap", "--quiet", "--variant=minbase", "--format=directory",
		"--include=systemd,systemd-sysv,udev,dbus,iproute2,kmod," + r.with,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/zoneinfo/*"}
	return append(append(command, r.options...), r.suite)
}

// A base is a root as the recipe makes it. It is not changed by anybody.
type base struct {
	*root
	dir string // in the cache
}

// obtain returns the base from the cache, where it makes it if need be. The key is the recipe:
// whoever changes that gets a new one.
func (r *root) obtain(ctx context.Context, cache string) (*base, error) {
	recipe := r.recipe()
	key := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(recipe, "\n"))))[:12]
	dir := filepath.Join(cache, "root-"+key)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, "lock-"+r.name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return &base{r, dir}, nil
	}
	making := dir + ".new" // what broke off is not taken for the whole
	if err := os.RemoveAll(making); err != nil {
		return nil, err
	}
	// The kernel packages' hooks obey INITRD: no initramfs is wanted yet.
	if err := execute(ctx, []string{"INITRD=No"}, append(recipe, making)...); err != nil {
		return nil, err
	}
	return &base{r, dir}, os.Rename(making, dir)
}

// obtainAll returns the bases of several roots, and makes two at a time: much of it is waiting.
func obtainAll(ctx context.Context, cache string, roots []*root) (map[*root]*base, error) {
	bases, errs := make([]*base, len(roots)), make([]error, len(roots))
	inParallel(len(roots), func(at int) { bases[at], errs[at] = roots[at].obtain(ctx, cache) })
	found := make(map[*root]*base)
	for at, r := range roots {
		if errs[at] != nil {
			return nil, fmt.Errorf("root %s: %w", r.name, errs[at])
		}
		found[r] = bases[at]
	}
	return found, nil
}

// kernel returns the release of the kernel whose release begins with v: "6.1.0-56-cloud-amd64" for
// "6.1".
func (b *base) kernel(v string) (string, error) {
	found, err := filepath.Glob(filepath.Join(b.dir, "boot", "vmlinuz-"+v+".*"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d kernels %s in %s", len(found), v, b.dir)
	}
	return strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"), nil
}
