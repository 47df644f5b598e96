package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	cachedRounds = 21
	coldRounds   = 5
	stepRounds   = 21
	waitSeconds  = "600"
)

// cachedBuild compares a build of which every step is cached, from the request until the image can be pulled.
func cachedBuild(ctx context.Context, s *server, r *report) error {
	var dockerfile strings.Builder
	dockerfile.WriteString("FROM busybox\n")
	for i := range 8 {
		fmt.Fprintf(&dockerfile, "RUN echo step %d >/step%d\n", i, i)
	}
	ours, theirs, err := alternate(cachedRounds+1, func(int) (time.Duration, error) {
		return s.timedPost(ctx, dockerfile.String(), nil)
	}, func(int) (time.Duration, error) {
		return s.buildctl(ctx, dockerfile.String(), s.host+"/bench/cached:latest")
	})
	if err != nil {
		return err
	}
	// The first round of each fills the cache.
	r.ratio("All steps cached, request to pullable", median(ours[1:]), median(theirs[1:]), "buildctl build --output push=true", 1.0)
	return nil
}

// coldBuild compares a build without any cache: 8 steps and about 200 MB of layers, half of it compressible.
func coldBuild(ctx context.Context, s *server, r *report) error {
	dockerfile := func(salt string) string {
		var b strings.Builder
		b.WriteString("FROM busybox\n")
		for i := range 8 {
			fmt.Fprintf(&b, "RUN head -c 9500000 /dev/urandom >/r%d && base64 /r%d >/b%d && head -c 2800000 /b%d >>/b%d # %s\n", i, i, i, i, i, salt)
		}
		return b.String()
	}
	ours, theirs, err := alternate(coldRounds, func(i int) (time.Duration, error) {
		return s.timedPost(ctx, dockerfile(fmt.Sprint("ours", i)), map[string]string{"noCache": "true"})
	}, func(i int) (time.Duration, error) {
		return s.buildctl(ctx, dockerfile(fmt.Sprint("theirs", i)), s.host+"/bench/cold:latest", "--no-cache")
	})
	if err != nil {
		return err
	}
	r.ratio("Cold, 8 steps, 200 MB of layers, request to pullable", median(ours), median(theirs), "buildctl build --no-cache", 1.0)
	return nil
}

func (s *server) timedPost(ctx context.Context, dockerfile string, fields map[string]string) (time.Duration, error) {
	all := map[string]string{"component": "bench"}
	for k, v := range fields {
		all[k] = v
	}
	began := time.Now()
	_, err := s.post(ctx, dockerfile, waitSeconds, all, nil)
	return time.Since(began), err
}

// firstStep measures the time from the answer to a POST until BuildKit has started the first instruction.
func firstStep(ctx context.Context, s *server, r *report) error {
	var until []time.Duration
	for i := range stepRounds + 1 {
		sub, err := s.post(ctx, fmt.Sprintf("FROM busybox\nRUN echo %d\n", i), "", map[string]string{"component": "bench"}, nil)
		if err != nil {
			return err
		}
		answered := time.Now()
		started, err := s.firstStart(ctx, sub.BuildID)
		if err != nil {
			return err
		}
		until = append(until, started.Sub(answered))
	}
	r.limit("POST answered to the first instruction running, idle server", median(until[1:]).Seconds()*1000, 50, "ms")
	return nil
}

// firstStart returns when the first instruction of the build's Dockerfile was started, by BuildKit's clock, which is ours.
func (s *server) firstStart(ctx context.Context, buildID string) (time.Time, error) {
	raw, err := s.call(ctx, http.MethodGet, "/api/v1/builds/"+buildID+"/logs?follow=1", nil, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		return time.Time{}, err
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var l struct {
			Time time.Time `json:"time"`
			Step string    `json:"step"`
			Text string    `json:"text"`
		}
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			return time.Time{}, err
		}
		if strings.HasPrefix(l.Step, "[2/2]") && l.Text == "started" {
			return l.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("build %s never started its step", buildID)
}

// alternate runs the two in turns, so that both see the same noise.
func alternate(rounds int, ours, theirs func(round int) (time.Duration, error)) (a, b []time.Duration, err error) {
	for i := range rounds {
		one, err := ours(i)
		if err != nil {
			return nil, nil, err
		}
		two, err := theirs(i)
		if err != nil {
			return nil, nil, err
		}
		a, b = append(a, one), append(b, two)
	}
	return a, b, nil
}
