package handlers

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// Answers to GET /component that are no tarball.
const (
	formatJSON = "json"
	formatPath = "path"
)

var (
	fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	fullDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// componentQuery reads which component is asked for, and in which form.
func componentQuery(c *gin.Context) (q model.ComponentQuery, format string, err error) {
	p, err := queryOf(c, "component", "tag", "architecture", "url", "subdir", "commit", "digest", "format", "retry")
	if err != nil {
		return q, "", err
	}
	if p["component"] == "" {
		return q, "", model.FieldErrorf(model.CodeFieldRequired, "component", "Say which component is wanted: ?component=NAME.")
	}
	format, err = p.choice("format", formatJSON, formatPath, string(model.FormatTarGz), string(model.FormatTarZst), string(model.FormatTar), string(model.FormatZip))
	if err != nil {
		return q, "", err
	}
	q = model.ComponentQuery{
		Component: p["component"], Tag: p["tag"], Architecture: p["architecture"], URL: p["url"], Subdir: p["subdir"],
		MayBuild: !isHead(c) && holds(exchangeOf(c).principal, ScopeComponentsWrite), // HEAD changes nothing
	}
	if q.Commit, err = p.commit(); err != nil {
		return q, "", err
	}
	if q.Digest, err = p.digest(); err != nil {
		return q, "", err
	}
	if q.Retry, err = p.flag("retry", false); err != nil {
		return q, "", err
	}
	q.Requester, err = requesterOf(c)
	return q, cmp.Or(format, formatJSON), err
}

// commit returns the parameter of that name.
func (q query) commit() (string, error) {
	commit := strings.ToLower(q["commit"])
	if commit != "" && !fullCommit.MatchString(commit) {
		return "", model.FieldErrorf(model.CodeParamInvalid, "commit", "A commit is given in full, as 40 hex digits.")
	}
	return commit, nil
}

// digest returns the parameter of that name.
func (q query) digest() (string, error) {
	if q["digest"] != "" && !fullDigest.MatchString(q["digest"]) {
		return "", model.FieldErrorf(model.CodeParamInvalid, "digest", "A digest is sha256: and 64 hex digits in lower case.")
	}
	return q["digest"], nil
}

// isHead reports whether the answer goes without its body. ServeHTTP has made a GET of the request.
func isHead(c *gin.Context) bool {
	_, head := connectionOf(c.Writer)
	return head
}

// refuseComponent is refuse for a component that was asked for. To HEAD, which builds nothing whatever the key may do, one
// that would have to be built is one that is not there.
func (s *Server) refuseComponent(c *gin.Context, err error) {
	if isHead(c) && model.CodeOf(err) == model.CodeScopeInsufficient {
		err = model.Errorf(model.CodeComponentNotFound, "There is no such component yet, and HEAD builds none: ask with GET.").Wrap(err)
	}
	s.refuse(c, err)
}

// awaitedComponent returns what the build under way has made for the platform asked for, when that ends within the time
// that the caller would wait, or how the build stands then.
func (s *Server) awaitedComponent(c *gin.Context, state model.ComponentState, start time.Time) (model.ComponentState, error) {
	b, err := s.awaited(c, *state.Build, state.Platform, start)
	if err != nil {
		return state, err
	}
	if b.Ended(state.Platform) {
		return s.cfg.Components.Made(c.Request.Context(), b.ID, state.Platform)
	}
	state.Build = &b
	return state, nil
}

// handOut gives a component in the form asked for.
func (s *Server) handOut(c *gin.Context, state model.ComponentState, format string) {
	switch format {
	case formatJSON:
		s.respond(c, http.StatusOK, s.componentBody(state))
	case formatPath:
		path, err := s.cfg.Tarballs.Tree(c.Request.Context(), state.Component.Tarball)
		if err != nil {
			s.refuse(c, err)
			return
		}
		body := s.componentBody(state)
		body.Component, body.Copy = path, "cp -a "+shellQuoted(path+"/.")+" DEST/"
		s.respond(c, http.StatusOK, body)
	default:
		s.download(c, *state.Component, model.Format(format))
	}
}

// refuseFailed answers with how the build failed, as if the request itself had.
func (s *Server) refuseFailed(c *gin.Context, state model.ComponentState) {
	b := *state.Failed
	e := &model.Error{Code: model.CodeBuildFailed, Message: "The build failed; its log says why."}
	switch {
	case b.Error != nil:
		e.Code, e.Message, e.Line = b.Error.Code, b.Error.Message, b.Error.Line
	case b.Status == model.StatusCanceled:
		e.Code, e.Message = model.CodeCanceled, "The build was canceled. Ask with retry=1 to build it again."
	}
	status := statusOf(e.Code)
	s.logRefusal(c, e, status)
	s.errorHeaders(c, status)
	c.Header("Location", base+"/builds/"+b.ID)
	s.respond(c, status, FailedComponentBody{
		ErrorBody: errorBody(c, e), BuildID: b.ID, Architecture: state.Platform, ImageName: state.ImageName,
		Links: s.links(b), Log: append([]string{}, state.Log...),
	})
}

// shellSafe is a text that no shell takes apart.
var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_/.,:+@%=-]+$`)

// shellQuoted makes a text one word of a shell's command line.
func shellQuoted(text string) string {
	if shellSafe.MatchString(text) && !strings.HasPrefix(text, "-") {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
