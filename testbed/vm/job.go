package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A job is one row of the table: a case on a platform.
type job struct {
	*testCase
	platform
	boots []*boot
}

// carryOut boots, and judges. A boot that came to no report is a fault like another.
func (j *job) carryOut(ctx context.Context) *row {
	start := time.Now()
	scenes, err := j.see(ctx)
	r := &row{job: j, took: time.Since(start), verdict: new(verdict)}
	if err != nil {
		r.faults = []string{err.Error()}
		return r
	}
	r.verdict = j.judge(scenes)
	return r
}

// see boots, once or more. Whatever comes of it, the logs are in the folders of the boots.
func (j *job) see(ctx context.Context) ([]*observation, error) {
	drop, err := j.ownDisk(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	var scenes []*observation
	for at, b := range j.boots {
		o, err := b.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("boot %d: %w", at+1, err)
		}
		s, err := understand(o, j.setup.manager)
		if err != nil {
			return nil, err
		}
		if err := s.keepJournal(b.journal()); err != nil {
			return nil, err
		}
		scenes = append(scenes, s)
	}
	return scenes, nil
}

// ownDisk gives the boots of a job a disk of their own, if what one writes is for the next.
func (j *job) ownDisk(ctx context.Context) (drop func() error, err error) {
	if !j.boots[0].Keep {
		return func() error { return nil }, nil
	}
	own := j.boots[0].Dir + ".disk"
	if err := execute(ctx, nil, "cp", "--sparse=always", j.boots[0].Disk, own); err != nil {
		return nil, err
	}
	for _, b := range j.boots {
		b.Disk = own
	}
	return func() error { return os.Remove(own) }, nil
}
