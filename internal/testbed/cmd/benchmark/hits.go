package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// steadyGrowth is how much memory may grow, in MiB, that is said not to.
const steadyGrowth = 16

// componentHit compares downloads of a component that is there with nginx serving the same file.
func componentHit(ctx context.Context, s *server, r *report) error {
	sizes := []struct {
		name  string
		bytes int64
		each  map[int]int // downloads of each client in a round, by the number of clients
	}{
		{"64 MiB", 64 * mib, map[int]int{1: 16, 16: 4}},
		{"1 GiB", gib, map[int]int{1: 1, 16: 1}},
	}
	files := map[string]string{}
	for _, size := range sizes {
		name := fmt.Sprintf("blob%d", size.bytes/mib)
		made, err := s.made(ctx, name, map[string]string{
			"Dockerfile": fmt.Sprintf("FROM busybox AS make\nRUN head -c %d /dev/urandom >/blob\nFROM scratch AS component\nCOPY --from=make /blob /\n", size.bytes),
		})
		if err != nil {
			return err
		}
		files["/"+name] = s.tarballFile(made.Digest)
	}
	peer, err := startNginx(ctx, filepath.Join(s.dir, "nginx"), files)
	if err != nil {
		return err
	}
	defer peer.stop()
	for _, size := range sizes {
		name := fmt.Sprintf("blob%d", size.bytes/mib)
		d := downloads{
			ctx: ctx, s: s, peer: peer, path: componentPath("component", name, "tag", "v1", "format", "tar.gz"), peerPath: "/" + name,
		}
		if err := d.check(); err != nil {
			return err
		}
		for _, clients := range []int{1, 16} {
			what := fmt.Sprintf("Component of %s, %d client", size.name, clients)
			if clients > 1 {
				what += "s"
			}
			if err := d.compare(r, what, clients, size.each[clients]); err != nil {
				return err
			}
		}
	}
	return nil
}

// tarballFile is where the server keeps a tarball.
func (s *server) tarballFile(digest string) string {
	hexadecimal := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(s.data(), "tarballs", "sha256", hexadecimal[:2], hexadecimal)
}

// downloads are of one file, from the server and from nginx.
type downloads struct {
	ctx            context.Context
	s              *server
	peer           *nginx
	path, peerPath string
}

// check holds the two against each other, byte by byte.
func (d downloads) check() error {
	ours, err := d.digest("http://" + d.s.host + d.path)
	if err != nil {
		return err
	}
	theirs, err := d.digest("http://" + d.peer.host + d.peerPath)
	if err == nil && ours != theirs {
		err = fmt.Errorf("%s and nginx's %s are not the same", ours, theirs)
	}
	return err
}

func (d downloads) digest(url string) (string, error) {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Api-Key", adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, resp.Body); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// hitRounds is how often each side takes its turn, by the number of clients. One client's turns are short and shaken by
// whatever else runs: there are more of them.
func hitRounds(clients int) int {
	if clients == 1 {
		return 15
	}
	return 5
}

// load is what one side did in its turns.
type load struct {
	rates []float64 // bytes in a second, by turn
	cpu   time.Duration
	bytes int64
}

// perGiB is the processor time that a GiB took.
func (l load) perGiB() time.Duration {
	return time.Duration(float64(l.cpu) * gib / float64(l.bytes))
}

func (l load) rate() float64 {
	s := slices.Sorted(slices.Values(l.rates))
	return s[len(s)/2]
}

// compare has clients download the file from both, in turns.
func (d downloads) compare(r *report, what string, clients, each int) error {
	var ours, theirs load
	own := func() (time.Duration, error) { return cpu(d.s.cmd.Process.Pid) }
	workers := func() (time.Duration, error) { return cpuWithChildren(d.peer.cmd.Process.Pid) }
	turn := func(l *load, host, path string, used func() (time.Duration, error)) error {
		return d.turn(l, host, path, clients, each, used)
	}
	// The first turn of each is not counted: buffers grow to what they need.
	var warm load
	if err := turn(&warm, d.s.host, d.path, own); err != nil {
		return err
	}
	if err := turn(&warm, d.peer.host, d.peerPath, workers); err != nil {
		return err
	}
	before, err := d.s.peakFromNow()
	if err != nil {
		return err
	}
	for i := range hitRounds(clients) {
		sides := []func() error{
			func() error { return turn(&ours, d.s.host, d.path, own) },
			func() error { return turn(&theirs, d.peer.host, d.peerPath, workers) },
		}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
	}
	peak, err := d.s.status("VmHWM")
	if err != nil {
		return err
	}
	r.throughput(what, ours.rate(), theirs.rate(), "nginx", 0.95)
	r.ratio(what+": processor time for a GiB", ours.perGiB(), theirs.perGiB(), "nginx", 1.2)
	r.limit(what+": growth of the server's memory", float64(peak-before)/mib, steadyGrowth, "MiB")
	return nil
}

// turn has each client download the file some times.
func (d downloads) turn(l *load, host, path string, clients, each int, used func() (time.Duration, error)) error {
	before, err := used()
	if err != nil {
		return err
	}
	left, sizes := make([]int, clients), make([]int64, clients)
	took, err := crowd(d.ctx, host, clients, func(client int, w *wire) error {
		if left[client]++; left[client] > each {
			return errEnough
		}
		n, err := w.get(path)
		sizes[client] += n
		return err
	})
	if err != nil {
		return err
	}
	after, err := used()
	if err != nil {
		return err
	}
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	l.cpu, l.bytes = l.cpu+after-before, l.bytes+sum
	l.rates = append(l.rates, float64(sum)/took.Seconds())
	return nil
}
