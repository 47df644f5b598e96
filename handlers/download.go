package handlers

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// download sends a component's tarball, or says where the store does.
func (s *Server) download(c *gin.Context, component model.Component, format model.Format) {
	d, err := s.cfg.Tarballs.Open(c.Request.Context(), component.Tarball, format, fileName(component, format))
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Header("X-Cooper-Commit", component.Source.Commit)
	c.Header("X-Cooper-Digest", d.Digest)
	if d.URL != "" {
		s.sendElsewhere(c, component, format, d)
		return
	}
	defer func() { _ = d.File.Close() }()
	contentHeaders(c, component, format, d)
	s.sendFile(c, d)
}

// sendElsewhere says where the store sends a file. The store knows nothing of our entity tags, so conditions are looked
// at here. A presigned URL is for GET alone: HEAD is answered here, too.
func (s *Server) sendElsewhere(c *gin.Context, component model.Component, format model.Format, d model.Download) {
	status := http.StatusTemporaryRedirect
	switch unmet := conditionOf(c.Request.Header, `"`+d.Digest+`"`); {
	case unmet == http.StatusPreconditionFailed:
		s.refuseDownload(c, unmet)
		return
	case unmet == http.StatusNotModified:
		status = unmet
		c.Header("ETag", `"`+d.Digest+`"`)
		c.Header("Cache-Control", cacheControl(c))
	case isHead(c):
		status = http.StatusOK
		contentHeaders(c, component, format, d)
		c.Header("Content-Length", strconv.FormatInt(d.Size, 10))
	default:
		c.Header("Location", d.URL)
		c.Header("Content-Length", "0")
	}
	c.Status(status)
	c.Writer.WriteHeaderNow()
}

// sendFile sends a file that is open, or what the caller wants of it. It gives no Last-Modified: a tag that moves back
// would name bytes that are older than those that the caller has.
func (s *Server) sendFile(c *gin.Context, d model.Download) {
	r := *c.Request
	r.Header = r.Header.Clone()
	if wanted := rangeOf(r.Header, d.Size); wanted != "" {
		r.Header.Set("Range", wanted)
	} else {
		r.Header.Del("Range")
	}
	out := newFileWriter(c, s.cfg.WriteStall)
	if isHead(c) {
		r.Method = http.MethodHead
	} else {
		out.contentDigest = digestField(d.Digest)
	}
	http.ServeContent(out, &r, "", time.Time{}, d.File)
	switch {
	case out.refused != 0:
		s.refuseDownload(c, out.refused)
	case out.broken != nil: // the client sees it by the length
		s.log.InfoContext(r.Context(), "download broken off", "requestId", exchangeOf(c).requestID, "error", out.broken.Error())
		breakOff(c)
	default:
		c.Writer.WriteHeaderNow()
	}
}

// refuseDownload says in our own words what ServeContent refused.
func (s *Server) refuseDownload(c *gin.Context, status int) {
	h := c.Writer.Header()
	for _, name := range []string{"Content-Disposition", "Repr-Digest", "X-Cooper-Digest", "ETag"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		s.refuse(c, model.Errorf(model.CodeRangeNotSatisfiable, "The tarball does not have the bytes that Range asks for; Content-Range says how many it has."))
	case http.StatusPreconditionFailed:
		s.refuse(c, model.Errorf(model.CodePreconditionFailed, "The tarball is not the one that If-Match or If-Unmodified-Since names."))
	default:
		s.refuse(c, model.Errorf(model.CodeInternal, "The tarball cannot be read. The server's log has the cause under this requestId."))
	}
}

// contentHeaders describes the tarball in that format.
func contentHeaders(c *gin.Context, component model.Component, format model.Format, d model.Download) {
	h := c.Writer.Header()
	h.Set("Cache-Control", cacheControl(c))
	h.Set("Content-Type", mediaType(format))
	h.Set("Content-Disposition", `attachment; filename="`+fileName(component, format)+`"`)
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", `"`+d.Digest+`"`)
	if field := digestField(d.Digest); field != "" {
		h.Set("Repr-Digest", field)
	}
}

func mediaType(f model.Format) string {
	switch f {
	case model.FormatTarGz:
		return "application/gzip"
	case model.FormatTarZst:
		return "application/zstd"
	case model.FormatZip:
		return "application/zip"
	}
	return "application/x-tar"
}

// fileName is what a browser, or curl -OJ, saves the tarball as.
func fileName(c model.Component, f model.Format) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '+', r == '-':
			return r
		}
		return '-'
	}, c.Name+"-"+c.Tag+"-"+c.Platform)
	const longest = 200 // file systems take 255
	return strings.TrimLeft(name[:min(len(name), longest)], ".-") + "." + string(f)
}

// cacheControl lets a caller keep what a digest names. What a tag or branch names may be another thing at any time, and
// so may what was built of a commit, when it is built again; they are asked for again, with their ETag.
func cacheControl(c *gin.Context) string {
	if c.Query("digest") != "" {
		return "private, max-age=31536000, immutable"
	}
	return "private, no-cache"
}

// digestField writes a digest as HTTP has it, and "" for one that it has no name for.
// Source: RFC 9530, sections 2 and 3. Content-Digest is of the bytes in the answer, so that a 206, a 304 and the answer
// to HEAD have none; Repr-Digest is always of the whole.
func digestField(digest string) string {
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil || len(sum) != 32 {
		return ""
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}
