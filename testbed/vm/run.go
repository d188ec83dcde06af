package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// This file makes what the cases need, and carries them out.

// commandLine is the beginning of every kernel's command line. The console shows what systemd starts,
// by the names of the units.
const commandLine = "console=ttyS0 panic=-1 net.ifnames=0 quiet root=/dev/vda rw" +
	" systemd.show_status=yes systemd.status_unit_format=name"

// atATime is how many machines run at a time. Each has one processor: two of them, emulated on a machine
// with two, take longer.
const atATime = 2

// boot makes what is needed and boots all. It is an error if not all came out right.
func (o *options) boot(ctx context.Context) error {
	b, err := obtain(ctx, o.cache)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "eni0-vm-")
	if err != nil {
		return err
	}
	jobs, err := o.prepare(ctx, b, work)
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

// prepare makes the root, the initramfs images and the disk in a folder, and the jobs.
func (o *options) prepare(ctx context.Context, b *base, work string) ([]*job, error) {
	t, err := b.plant(ctx, filepath.Join(work, "root"))
	if err != nil {
		return nil, err
	}
	k := &kit{base: b, tree: t, dir: work, images: make(map[string]string)}
	var jobs []*job
	for _, c := range o.cases {
		for _, kernel := range o.kernels {
			j, err := k.job(ctx, c, kernel)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, j)
		}
	}
	if err := t.image(ctx, k.disk()); err != nil {
		return nil, err
	}
	return jobs, os.RemoveAll(t.dir)
}

// A kit is what jobs are made of. Each initramfs is made once, for all the cases that start from it.
type kit struct {
	*base
	*tree
	dir    string
	images map[string]string // kind and release to the file of an initramfs
}

// disk is the file with the root, from which all boots start.
func (k *kit) disk() string { return filepath.Join(k.dir, "disk") }

// job makes the job of a case on a kernel, and what it starts from.
func (k *kit) job(ctx context.Context, c *testCase, kernel string) (*job, error) {
	release, err := k.kernel(kernel)
	if err != nil {
		return nil, err
	}
	key := c.start + release
	if k.images[key] == "" {
		if k.images[key], err = k.initrd(ctx, c.start, release, k.dir); err != nil {
			return nil, err
		}
	}
	j := &job{testCase: c, kernel: kernel}
	for at, b := range c.boots {
		b.Kernel, b.Initrd = filepath.Join(k.base.dir, "boot", "vmlinuz-"+release), k.images[key]
		b.Append = commandLine + b.Append
		b.Dir = filepath.Join(k.dir, "logs", fmt.Sprintf("%s-%s-%d", c.name, kernel, at+1))
		if c.start != alone {
			b.Disk = k.disk()
		}
		j.boots = append(j.boots, &b)
	}
	return j, nil
}

// show carries the jobs out and prints what came of each as it ends. It returns how many went wrong.
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
		fmt.Printf("%d of %d came out right, in %s\n", len(jobs)-wrong, len(jobs), time.Since(start).Round(time.Second))
	}
	return wrong
}

// carryOut carries the jobs out, some at a time, and yields what came of each, in the order in which
// they end. When ctx ends, those that are left end at once.
func carryOut(ctx context.Context, jobs []*job) <-chan *row {
	todo, done := make(chan *job, len(jobs)), make(chan *row)
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	var workers sync.WaitGroup
	for range atATime {
		workers.Go(func() {
			runtime.LockOSThread() // what it starts ends with the thread
			for j := range todo {
				done <- j.carryOut(ctx)
			}
		})
	}
	go func() { workers.Wait(); close(done) }()
	return done
}
