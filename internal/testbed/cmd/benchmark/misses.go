package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"cooper/internal/testbed"
)

const (
	missRounds   = 5
	changeRounds = 9
	joinedRounds = 3
	askers       = 100
)

// componentMiss compares a GET that builds with a clone, a build and a compression by hand: of a commit of which nothing
// is known, and of one in which a single file has changed.
func componentMiss(ctx context.Context, s *server, r *report) error {
	if err := s.pushToolchain(ctx); err != nil {
		return err
	}
	repo, err := s.repository(ctx, "project", cProject("first"))
	if err != nil {
		return err
	}
	recipe, err := s.recipe(ctx, repo.URL)
	if err != nil {
		return err
	}
	m := misses{s: s, repo: repo, recipe: recipe}
	const peer = "git clone --depth 1, buildctl build, pigz"
	// The first round of each fetches the base image.
	ours, theirs, err := m.alternate(ctx, missRounds+1, func(salt string, _ int) map[string]string { return cProject(salt) })
	if err != nil {
		return err
	}
	r.ratio("Component in C of 60 files, nothing known of the commit", median(ours[1:]), median(theirs[1:]), peer, 1.05)
	// The first round of each fills the compiler's cache with what stays.
	ours, theirs, err = m.alternate(ctx, changeRounds+1, func(salt string, i int) map[string]string {
		return map[string]string{cFile(i): cSource(i, salt)}
	})
	if err != nil {
		return err
	}
	r.ratio("The same with one changed file", median(ours[1:]), median(theirs[1:]), peer, 1.0)
	return nil
}

// misses are builds of one repository's newest commits.
type misses struct {
	s      *server
	repo   *testbed.GitRepository
	recipe recipeAnswer
}

// alternate has both sides build in turns, each a commit of its own, with the files that change makes for a salt and a
// round. Who is first changes, too.
func (m misses) alternate(ctx context.Context, rounds int, change func(salt string, round int) map[string]string) (ours, theirs []time.Duration, err error) {
	side := func(who string, into *[]time.Duration, build func(context.Context) (time.Duration, error)) func(int) error {
		return func(i int) error {
			if _, err := m.repo.Commit(ctx, change(fmt.Sprintf("%s %d", who, i), i)); err != nil {
				return err
			}
			took, err := build(ctx)
			*into = append(*into, took)
			return err
		}
	}
	sides := []func(int) error{
		side("ours", &ours, m.get),
		side("theirs", &theirs, func(ctx context.Context) (time.Duration, error) {
			return m.s.componentByHand(ctx, m.repo.URL, m.recipe)
		}),
	}
	for i := range rounds {
		for j := range sides {
			if err := sides[(i+j)%2](i); err != nil {
				return nil, nil, err
			}
		}
	}
	return ours, theirs, nil
}

// get asks for the newest commit's tarball, which is not there, and reads it.
func (m misses) get(ctx context.Context) (time.Duration, error) {
	path := componentPath("component", "project", "tag", "main", "url", m.repo.URL, "format", "tar.gz")
	began := time.Now()
	raw, err := m.s.call(ctx, http.MethodGet, path, nil, http.Header{"Prefer": {"wait=" + waitSeconds}})
	took := time.Since(began)
	if err == nil && (len(raw) < 2 || raw[0] != 0x1f || raw[1] != 0x8b) {
		err = fmt.Errorf("the answer is no tarball: %.300s", raw)
	}
	return took, err
}

// componentJoined compares the processor time that a hundred equal requests take, of what is not there, with what one
// takes.
func componentJoined(ctx context.Context, s *server, r *report) error {
	if err := s.pushToolchain(ctx); err != nil {
		return err
	}
	var one, many []time.Duration
	most := 0
	for i := range joinedRounds + 1 { // the first fetches the base image
		used, n, err := s.ask(ctx, fmt.Sprintf("one%d", i), 1)
		if err != nil {
			return err
		}
		one, most = append(one, used), max(most, n)
		if used, n, err = s.ask(ctx, fmt.Sprintf("many%d", i), askers); err != nil {
			return err
		}
		many, most = append(many, used), max(most, n)
	}
	r.limit("100 equal GETs of a component that is not there: builds", float64(most), 1, "build")
	r.ratio("100 equal GETs: processor time of the server and BuildKit", median(many[1:]), median(one[1:]), "one GET", 1.1)
	return nil
}

// ask has some ask for the same at once, and returns the processor time that it took and the number of builds.
func (s *server) ask(ctx context.Context, name string, askers int) (time.Duration, int, error) {
	repo, err := s.repository(ctx, name, cProject(name))
	if err != nil {
		return 0, 0, err
	}
	before, err := cpuWithChildren(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	group, asking := errgroup.WithContext(ctx)
	for range askers {
		group.Go(func() error {
			_, err := s.component(asking, "component", name, "tag", "main", "url", repo.URL)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	after, err := cpuWithChildren(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	var page struct {
		Builds []json.RawMessage `json:"builds"`
	}
	raw, err := s.call(ctx, http.MethodGet, "/api/v1/builds?component="+name, nil, nil)
	if err == nil {
		err = json.Unmarshal(raw, &page)
	}
	return after - before, len(page.Builds), err
}
