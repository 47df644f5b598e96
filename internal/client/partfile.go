package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
)

// partFile gathers a download. It stays when the download breaks off, so that the next one goes on from there, and it is
// locked, so that two do not write to it at once.
type partFile struct {
	file *os.File
	size int64
	sum  hash.Hash
}

// openPart opens or makes the file and reads what is in it already, for its digest.
func openPart(ctx context.Context, path string) (*partFile, error) {
	f, err := lockedFile(path)
	if err != nil {
		return nil, err
	}
	p := &partFile{file: f, sum: sha256.New()}
	if p.size, err = io.Copy(p.sum, untilDone{ctx, f}); err != nil {
		p.close()
		return nil, fmt.Errorf("read what was downloaded before: %w", err)
	}
	return p, nil
}

// lockedFile opens or makes the file and locks it. The one who had it may have moved it away meanwhile: what is locked
// must still be what the path names.
func lockedFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o666) //nolint:gosec // the user's umask decides
		if err != nil {
			return nil, fmt.Errorf("open the file for the download: %w", err)
		}
		locked, err := lock(f)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if named, err := os.Lstat(path); err == nil && os.SameFile(locked, named) {
			return f, nil
		}
		_ = f.Close()
	}
}

// lock locks a file or folder until it is closed.
func lock(f *os.File) (os.FileInfo, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another cooper is at work on %s; wait until it has ended", f.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f.Stat()
}

// Write appends to the file.
func (p *partFile) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	return n, err
}

// reset begins again with nothing.
func (p *partFile) reset() error {
	if p.size == 0 {
		return nil
	}
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.size = 0
	p.sum.Reset()
	return nil
}

func (p *partFile) digest() string { return sha256Digest(p.sum.Sum(nil)) }

func (p *partFile) close() { _ = p.file.Close() }

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context //nolint:containedctx // it is a reader's whole life
	in  io.Reader
}

func (r untilDone) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.in.Read(b)
}
