package handlers

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// rangeOf returns the header Range as http.ServeContent should see it: "" when it means nothing here, and one that
// nothing satisfies when it is wrong. By itself ServeContent refuses units that it does not know, takes the last 0 bytes
// for a part, and refuses bytes=5-1 without saying how many bytes there are.
// Source: RFC 9110, sections 14.1 and 14.2.
func rangeOf(h http.Header, size int64) string {
	unit, set, found := strings.Cut(strings.Join(h.Values("Range"), ","), "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return ""
	}
	none := fmt.Sprintf("bytes=%d-", size)
	var wanted []string
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		first, last, ok := byteRange(spec, size)
		if !ok {
			return none
		}
		if first <= last {
			wanted = append(wanted, fmt.Sprintf("%d-%d", first, last))
		}
	}
	if len(wanted) == 0 {
		return none
	}
	return "bytes=" + strings.Join(wanted, ",")
}

// byteRange reads one range and cuts it to what there is: first is beyond last when that is nothing. It is not ok when
// the text is no range.
func byteRange(spec string, size int64) (first, last int64, ok bool) {
	from, to, found := strings.Cut(spec, "-")
	if !found {
		return 0, 0, false
	}
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	if from == "" { // the last bytes
		n, ok := position(to)
		return max(size-n, 0), size - 1, ok
	}
	if first, ok = position(from); !ok {
		return 0, 0, false
	}
	last = size - 1
	if to == "" {
		return first, last, true
	}
	end, ok := position(to)
	return first, min(end, last), ok && first <= end
}

// position reads a number of digits alone. One that is too large for any file is the largest there is.
func position(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil { // only its size can be wrong
		return 1<<63 - 1, true
	}
	return n, true
}
