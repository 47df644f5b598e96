// Package buildcontext reads build contexts: tar archives, plain or compressed once with gzip or zstd, as anybody may
// upload them. Scan judges one as it streams by, Extract unpacks one into a folder and cannot write outside of it. Both
// hold the same rules, in memory that does not grow with the archive's bytes.
//
// What is kept: names (UTF-8, newlines too), contents, permission bits, links as links, whatever they point to. What is
// normalised: owners, set-user-ID, set-group-ID and sticky bits, and times outside of what file systems take. What is
// refused: devices and pipes, absolute names and names with "..", names that are not UTF-8, and entries below a link.
package buildcontext

import (
	"cooper/internal/model"
)

// field is the request's field that all errors of this package name.
const field = "context"

const (
	maxName     = 4095     // bytes of a path or a link's target, as Linux has it
	maxSegment  = 255      // bytes of one name in a path
	ratioFrom   = 64 << 20 // unpacked bytes from which on Ratio is judged
	streamSlack = 64 << 20 // bytes that headers may add to small limits
)

// Limits bounds what an archive may unpack to.
type Limits struct {
	Bytes int64 // of all contents, unpacked
	Files int   // entries, and folders that they imply
	Depth int   // names in a path
	Ratio int64 // unpacked to packed bytes, judged past 64 MiB unpacked
}

// DefaultLimits returns 8 GiB, 200,000 entries, paths of 100 names and a ratio of 200.
func DefaultLimits() Limits {
	return Limits{Bytes: 8 << 30, Files: 200_000, Depth: 100, Ratio: 200}
}

// stream is how many bytes the unpacked archive itself may have, with its headers and whatever follows its end.
func (l Limits) stream() int64 { return l.Bytes + l.Bytes/8 + streamSlack }

func refuse(code model.Code, format string, args ...any) *model.Error {
	return model.FieldErrorf(code, field, format, args...)
}

func tooLarge(l Limits) error {
	return refuse(model.CodeContextTooLarge,
		"The build context unpacks to more than %d bytes. Leave out what the build does not need, with a .dockerignore file for instance.", l.Bytes)
}
