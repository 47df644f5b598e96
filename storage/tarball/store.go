// Package tarball keeps the tarballs of components: immutable, named by the digest of their bytes, on disk or in an S3
// bucket. It makes their canonical form, derives the other formats and the unpacked trees, and hands out no bytes that do
// not match their digest. Which component a tarball belongs to is not its business.
package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"cooper/internal/model"
)

const (
	day = 24 * time.Hour
	// quarantineAge is how long bytes that went bad are kept for whoever wants to know why.
	quarantineAge = 7 * day
	defaultSize   = 16 << 30
	defaultMax    = 32 << 30
	maxEntries    = 2_000_000
)

// Settings are what the stores on disk and on S3 have in common. What is zero has a default.
type Settings struct {
	Compression model.Format  // of new tarballs: FormatTarGz, the default, or FormatTarZst
	MaxSize     int64         // bytes of a tarball before compression, 16 GiB by default
	Grace       time.Duration // how long a tarball that nothing names is kept, a day by default
	DerivedAge  time.Duration // how long a derived format is kept after it was last asked for, a day by default; see Collect
	DerivedMax  int64         // bytes of all derived formats together, 32 GiB by default
	TreeAge     time.Duration // how long a tree is kept after it was last asked for, a day by default; see Collect
	Room        func() error  // STORAGE_FULL when nothing more may be written to the local disk; nil for no such limit
	Log         *slog.Logger  // nil for none
}

// DiskConfig is a store on disk.
type DiskConfig struct {
	Dir      string // of the tarballs; nobody else may read it
	TreesDir string // of the unpacked trees; everybody may read one whose path he knows
	Settings
}

// S3Config is a store in a bucket.
type S3Config struct {
	URL     string        // s3://bucket?region=…&endpoint=…&use_path_style=true&prefix=…, as gocloud.dev takes it
	TempDir string        // where tarballs are made; this store's alone
	SignFor time.Duration // how long the URL of a download is good, 15 minutes by default
	Settings
}

// blobs is where the bytes lie. Keys are paths with slashes. All methods are safe for concurrent use; those that name a
// key that is not there return fs.ErrNotExist.
type blobs interface {
	// put makes the whole of f durable under key, in place of what is there. f's name may be gone afterwards.
	put(ctx context.Context, f *os.File, key string) (object, error)
	stat(ctx context.Context, key string) (object, error)
	// open returns the bytes, which are an *os.File where there are files, and what they are.
	open(ctx context.Context, key string) (io.ReadCloser, object, error)
	// list calls f with every object whose key starts with prefix, which ends in a slash. Their versions are not set.
	list(ctx context.Context, prefix string, f func(object) error) error
	// renew makes the object as young as one that was put just now. ok is false where only put can do that.
	renew(ctx context.Context, o object) (renewed object, ok bool, err error)
	// mark makes an empty object, or renews it. It need not survive a crash.
	mark(ctx context.Context, key string) error
	remove(ctx context.Context, key string) error
	// quarantine moves bytes that went bad out of the way.
	quarantine(ctx context.Context, key string) error
	close() error
}

// object is what is known of one key without reading it.
type object struct {
	key      string
	size     int64
	modified time.Time
	version  string // another one after every change of the bytes
}

// Store keeps tarballs. It is safe for concurrent use, by one process where it is on disk.
type Store struct {
	Settings
	blobs   blobs
	disk    *disk   // blobs, where they are files; else nil
	trees   *trees  // nil without disk
	bucket  *bucket // blobs, where they are in S3; else nil
	temps   string  // folder of files that are being made
	locks   locks
	known   versions
	shared  *shared // what outlives the request that began it
	packing turns   // for tarballs: theirs last as long as the builds that they come from
	making  turns   // for what is made of tarballs, which no build holds up
}

func newStore(c Settings, temps string) (*Store, error) {
	switch c.Compression {
	case "":
		c.Compression = model.FormatTarGz
	case model.FormatTarGz, model.FormatTarZst:
	default:
		return nil, fmt.Errorf("tarballs are kept as %s or %s, not as %q", model.FormatTarGz, model.FormatTarZst, c.Compression)
	}
	orDefault(&c.MaxSize, defaultSize)
	orDefault(&c.DerivedMax, defaultMax)
	orDefault(&c.Grace, day)
	orDefault(&c.DerivedAge, day)
	orDefault(&c.TreeAge, day)
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := emptyFolder(temps); err != nil {
		return nil, fmt.Errorf("remove unfinished tarballs: %w", err)
	}
	cores := runtime.GOMAXPROCS(0)
	return &Store{
		Settings: c, temps: temps, shared: newShared(),
		packing: make(turns, max(4, 2*cores)), making: make(turns, max(4, cores)),
	}, nil
}

func orDefault[T int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// OpenS3 opens the store in a bucket, which has to be there, and removes what a crash left unfinished in c.TempDir.
func OpenS3(ctx context.Context, c S3Config) (*Store, error) {
	s, err := newStore(c.Settings, filepath.Join(c.TempDir, incoming))
	if err != nil {
		return nil, err
	}
	orDefault(&c.SignFor, 15*time.Minute)
	if s.bucket, err = openBucket(ctx, c.URL, c.SignFor, s.Grace); err != nil {
		return nil, err
	}
	s.blobs = s.bucket
	return s, nil
}

// OpenDisk opens the store in c.Dir, makes what is not there, and removes what a crash left unfinished.
func OpenDisk(c DiskConfig) (*Store, error) {
	s, err := newStore(c.Settings, filepath.Join(c.Dir, incoming))
	if err != nil {
		return nil, err
	}
	if s.disk, err = openDisk(c.Dir); err != nil {
		return nil, err
	}
	s.blobs = s.disk
	if s.trees, err = openTrees(c.TreesDir); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the store's use, and what is being made for whoever asked. Downloads that are open stay readable.
func (s *Store) Close() error {
	s.shared.end()
	return s.blobs.close()
}

// Has reports whether the store has the tarball, without reading it. One that turned out to be corrupt is not there.
func (s *Store) Has(ctx context.Context, t model.Tarball) (bool, error) {
	key, err := blobKey(t.Digest)
	if err != nil {
		return false, err
	}
	o, err := s.blobs.stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && o.size == t.Size, err
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// hexOf lets only whole digests reach the disk: their digits are names of files here.
func hexOf(digest string) (string, error) {
	if !digestForm.MatchString(digest) {
		return "", model.Errorf(model.CodeNotFound, "There is no such tarball: a digest is sha256: and 64 hex digits in lower case.")
	}
	return digest[len("sha256:"):], nil
}

func blobKey(digest string) (string, error) {
	hex, err := hexOf(digest)
	if err != nil {
		return "", err
	}
	return "sha256/" + hex[:2] + "/" + hex, nil
}

// temp makes a file that is removed when drop is called, unless it was put by then.
func (s *Store) temp(kind string) (f *os.File, drop func(), err error) {
	if err := s.Room(); err != nil {
		return nil, nil, err
	}
	f, err = os.CreateTemp(s.temps, kind+"-*")
	if err != nil {
		return nil, nil, diskError("begin a file", err)
	}
	return f, func() {
		_ = f.Close()
		_ = os.Remove(f.Name()) // finds nothing once the file was moved
	}, nil
}
