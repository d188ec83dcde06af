package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// This file makes what the cases need, and carries them out.

// commandLine is the beginning of every kernel's command line. The console shows what systemd
// starts, by the names of the units.
const commandLine = "panic=-1 net.ifnames=0 quiet root=/dev/vda ro" +
	" systemd.show_status=yes systemd.status_unit_format=name"

// atATime is how many machines run at a time. Each has one processor: two of them, emulated on a
// machine with two, take longer.
const atATime = 2

// boot makes what is needed and boots all. It is an error if not all came out right.
func (o *options) boot(ctx context.Context) error {
	work, err := os.MkdirTemp("", "eni0-vm-")
	if err != nil {
		return err
	}
	jobs, err := o.prepare(ctx, work)
	if err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	wrong := o.show(ctx, jobs)
	logs := filepath.Join(work, "logs")
	switch {
	case ctx.Err() != nil:
		return errors.Join(errors.New("it was broken off"), os.RemoveAll(work))
	case wrong > 0:
		return fmt.Errorf("%d of %d went wrong: see %s", wrong, len(jobs), logs)
	case o.verbose:
		fmt.Printf("logs: %s\n", logs)
		return nil
	}
	return os.RemoveAll(work)
}

// prepare makes the roots, the initramfs images and the disks in a folder, and the jobs.
func (o *options) prepare(ctx context.Context, work string) ([]*job, error) {
	start := time.Now()
	k := &kit{dir: work, deb: o.deb, trees: make(map[*root]*tree), made: make(map[string]bool)}
	jobs := o.jobs()
	var err error
	if k.bases, err = obtainAll(ctx, o.cache, rootsOf(jobs)); err != nil {
		return nil, err
	}
	obtained := time.Now()
	for _, r := range rootsOf(jobs) {
		_, err := k.once(k.compiled(r), func(dir string) error { return compile(ctx, dir, r.arch) })
		if err != nil {
			return nil, err
		}
	}
	for _, j := range jobs {
		if err := k.provide(ctx, j); err != nil {
			return nil, fmt.Errorf("case %s: %w", j.name, err)
		}
	}
	for _, t := range k.trees {
		if err := os.RemoveAll(t.dir); err != nil {
			return nil, err
		}
	}
	fmt.Printf("roots: %s, disks and initramfs images: %s\n",
		obtained.Sub(start).Round(time.Second), time.Since(obtained).Round(time.Second))
	return jobs, nil
}

// jobs are the cases that are asked for, on the kernels that are.
func (o *options) jobs() []*job {
	var jobs []*job
	for _, c := range o.cases {
		for _, p := range c.on {
			if slices.Contains(o.kernels, p.kernel) {
				jobs = append(jobs, &job{testCase: c, platform: p})
			}
		}
	}
	return jobs
}

// rootsOf are the roots of jobs, each once.
func rootsOf(jobs []*job) []*root {
	var roots []*root
	for _, j := range jobs {
		if !slices.Contains(roots, j.root) {
			roots = append(roots, j.root)
		}
	}
	return roots
}

// A kit is what jobs are made of. Each tree, initramfs and disk is made once, for all the cases
// that start from it.
type kit struct {
	dir   string
	deb   string // a package of eni0, or ""
	bases map[*root]*base
	trees map[*root]*tree
	made  map[string]bool // files
}

// compiled is the name of the folder with the programs for a root.
func (k *kit) compiled(r *root) string { return "compiled" + r.arch }

// once makes a file of the kit unless it is there.
func (k *kit) once(name string, make func(file string) error) (string, error) {
	file := filepath.Join(k.dir, name)
	if k.made[file] {
		return file, nil
	}
	k.made[file] = true
	return file, make(file)
}

// tree returns the tree of a root.
func (k *kit) tree(ctx context.Context, r *root) (t *tree, err error) {
	if k.trees[r] == nil {
		at, compiled := filepath.Join(k.dir, "root-"+r.name), filepath.Join(k.dir, k.compiled(r))
		k.trees[r], err = k.bases[r].plant(ctx, at, compiled, k.deb)
	}
	return k.trees[r], err
}

// provide makes the boots of a job, and what they start from.
func (k *kit) provide(ctx context.Context, j *job) error {
	release, err := k.bases[j.root].kernel(j.kernel)
	if err != nil {
		return err
	}
	t, err := k.tree(ctx, j.root)
	if err != nil {
		return err
	}
	initrd, err := k.once(j.start+"-"+release, func(file string) error {
		return t.initrd(ctx, j.start, release, file)
	})
	if err != nil {
		return err
	}
	disk := ""
	if j.start != alone {
		disk, err = k.once(j.root.name+"-"+j.setup.name, func(file string) error {
			return t.makeDisk(ctx, j.setup, file)
		})
		if err != nil {
			return err
		}
	}
	for at, b := range j.testCase.boots {
		b.Kernel = filepath.Join(k.bases[j.root].dir, "boot", "vmlinuz-"+release)
		b.Initrd, b.Disk = initrd, disk
		b.Arch, b.Append = j.root.arch, commandLine+b.Append
		b.Dir = filepath.Join(k.dir, "logs", fmt.Sprintf("%s-%s-%s-%d", j.name, j.root.name, j.kernel, at+1))
		j.boots = append(j.boots, &b)
	}
	return nil
}

// show carries the jobs out and prints what came of each as it ends. It returns how many went
// wrong.
func (o *options) show(ctx context.Context, jobs []*job) (wrong int) {
	start := time.Now()
	heading(os.Stdout)
	for r := range carryOut(ctx, jobs) {
		if ctx.Err() != nil {
			continue // it went wrong because it was broken off
		}
		r.print(os.Stdout)
		if len(r.faults) > 0 {
			wrong++
		}
		if o.verbose {
			r.printLogs(os.Stdout, whole)
		}
	}
	if ctx.Err() == nil {
		took := time.Since(start).Round(time.Second)
		fmt.Printf("%d of %d came out right, in %s\n", len(jobs)-wrong, len(jobs), took)
	}
	return wrong
}

// carryOut carries the jobs out, some at a time, and yields what came of each, in the order in
// which they end. When ctx ends, those that are left end at once.
func carryOut(ctx context.Context, jobs []*job) <-chan *row {
	done := make(chan *row)
	go func() {
		inParallel(len(jobs), func(at int) { done <- jobs[at].carryOut(ctx) })
		close(done)
	}()
	return done
}

// inParallel calls do with 0 to n-1, a few at a time, and returns when all are done.
func inParallel(n int, do func(at int)) {
	todo := make(chan int, n)
	for at := range n {
		todo <- at
	}
	close(todo)
	var workers sync.WaitGroup
	for range atATime {
		workers.Go(func() {
			runtime.LockOSThread() // what it starts ends with the thread
			for at := range todo {
				do(at)
			}
		})
	}
	workers.Wait()
}
