package tarball

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"cooper/internal/model"
)

// checkEvery is how many bytes are written between two looks at the free space, and how many are handed to the disk at a
// time while the rest is still being made, so that the sync at the end finds little to do.
const checkEvery = 32 << 20

// sink writes a file and computes its digest. An error of the disk does not come back from Write, which compressors would
// not clean up after, but from err, where who feeds the compressor looks.
type sink struct {
	f    *os.File
	room func() error
	sum  hash.Hash
	size int64
	seen int64 // size at the last look

	mu     sync.Mutex
	failed error
}

func newSink(f *os.File, room func() error) *sink {
	return &sink{f: f, room: room, sum: sha256.New()}
}

func (k *sink) Write(p []byte) (int, error) {
	if k.err() != nil {
		return len(p), nil
	}
	if _, err := k.f.Write(p); err != nil {
		k.fail(diskError("write the bytes", err))
		return len(p), nil
	}
	k.sum.Write(p)
	k.size += int64(len(p))
	if k.size-k.seen >= checkEvery {
		// It only starts the writing; a file system that cannot do it loses nothing.
		_ = unix.SyncFileRange(int(k.f.Fd()), k.seen, k.size-k.seen, unix.SYNC_FILE_RANGE_WRITE)
		k.seen = k.size
		if err := k.room(); err != nil {
			k.fail(err)
		}
	}
	return len(p), nil
}

func (k *sink) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

func (k *sink) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = errors.Join(k.failed, err)
}

// restart forgets all that was written.
func (k *sink) restart() error {
	if err := k.f.Truncate(0); err != nil {
		return diskError("write the bytes", err)
	}
	k.sum.Reset()
	k.size, k.seen = 0, 0
	_, err := k.f.Seek(0, io.SeekStart)
	return err
}

func (k *sink) digest() string { return digestOf(k.sum.Sum(nil)) }

// packing is a tar on its way through a compressor into a sink.
type packing struct {
	*bufio.Writer // takes the tar
	out           *sink
	plain         hash.Hash // of the tar
	z             io.WriteCloser
	size, limit   int64 // of the tar
}

func newPacking(f model.Format, out *sink, limit int64) (*packing, error) {
	z, err := compressor(f, out)
	if err != nil {
		return nil, err
	}
	p := &packing{out: out, plain: sha256.New(), z: z, limit: limit}
	p.Writer = bufio.NewWriterSize(packingInput{p}, copyBuffer)
	return p, nil
}

// packingInput is the far side of a packing's buffer.
type packingInput struct{ p *packing }

func (i packingInput) Write(b []byte) (int, error) {
	p := i.p
	if err := p.out.err(); err != nil {
		return 0, err
	}
	if p.size += int64(len(b)); p.limit > 0 && p.size > p.limit {
		return 0, tooLarge(p.limit)
	}
	p.plain.Write(b)
	return p.z.Write(b)
}

// finish ends the compressed bytes. Every packing is finished or dropped.
func (p *packing) finish() error {
	err := p.Flush()
	return errors.Join(err, p.z.Close(), p.out.err())
}

// drop ends the compressor of a packing that failed.
func (p *packing) drop() { _ = p.z.Close() }

func tooLarge(limit int64) error {
	return model.Errorf(model.CodeComponentTooLarge,
		"The component has more than %d MiB of files. Let its recipe leave out what is not needed, such as caches and sources.", limit>>20)
}
