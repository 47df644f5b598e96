package source

import "bytes"

// maxRecord bounds one record; the rest of a longer one is dropped.
const maxRecord = 1 << 20

// records calls each for every record that is written to it. Records end in a NUL, as git's -z makes them.
type records struct {
	each func(record string)
	rest []byte
}

func (r *records) Write(b []byte) (int, error) {
	n := len(b)
	for {
		record, rest, ended := bytes.Cut(b, []byte{0})
		r.rest = append(r.rest, record[:min(len(record), maxRecord-len(r.rest))]...)
		if !ended {
			return n, nil
		}
		r.each(string(r.rest))
		r.rest, b = r.rest[:0], rest
	}
}
