package handlers

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// postComponent builds a component.
//
//	@Summary		Build a component of a git repository
//	@Description	Resolves the tag to a commit, finds the repository's build instructions and queues a build for each architecture. Answers 202
//	@Description	at once; with `Prefer: wait=N` it waits up to N seconds for the outcome and answers 200 with it, also when the build failed:
//	@Description	look at `status`. An equal request that is in flight is joined.
//	@Tags			components
//	@Accept			json
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			request			body		ComponentRequestBody	true	"What to build; an unknown field, one that is given twice, and a value of another type are refused"
//	@Param			Prefer			header		string	false	"wait=N waits up to N seconds, at most 3600, for the outcome"	example(wait=60)
//	@Param			Idempotency-Key	header		string	false	"A repeated request with the same key is the same request"
//	@Param			linux_username	header		string	false	"Linux user who asks: recorded and shown, and no proof of anything"
//	@Param			X-Linux-Username	header		string	false	"The same, for proxies that drop headers with underscores"
//	@Param			github_username	header		string	false	"GitHub user who asks: recorded and shown, and no proof of anything"
//	@Param			X-Github-Username	header		string	false	"The same, for proxies that drop headers with underscores"
//	@Success		200	{object}	SubmissionBody	"The build ended while it was waited for: succeeded, failed or canceled"
//	@Success		202	{object}	SubmissionBody	"Queued or running"
//	@Header			202	{string}	Location		"Where the build is"
//	@Header			202	{integer}	Retry-After		"Seconds after which asking again makes sense"
//	@Failure		400	{object}	ErrorBody		"BODY_MALFORMED, FIELD_UNKNOWN, FIELD_DUPLICATE, PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody		"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody		"SCOPE_INSUFFICIENT, FRONTEND_NOT_ALLOWED, ENTITLEMENT_DENIED, SOURCE_DENIED, URL_HOST_DENIED, URL_PORT_DENIED, REDIRECT_DENIED"
//	@Failure		408	{object}	ErrorBody		"BODY_TIMEOUT"
//	@Failure		409	{object}	ErrorBody		"IDEMPOTENCY_KEY_REUSED, REF_AMBIGUOUS"
//	@Failure		413	{object}	ErrorBody		"BODY_TOO_LARGE, REPO_TOO_LARGE, REPO_TOO_MANY_FILES"
//	@Failure		415	{object}	ErrorBody		"UNSUPPORTED_MEDIA_TYPE"
//	@Failure		422	{object}	ErrorBody		"FIELD_REQUIRED, FIELD_TYPE, FIELD_INVALID, FIELD_INVALID_CHAR, NAME_INVALID, NAME_TOO_LONG, REF_INVALID, REF_NOT_FOUND, PLATFORM_UNSUPPORTED, TOO_MANY_ITEMS, BUILD_ARG_INVALID, TIMEOUT_INVALID, SOURCE_INVALID, URL_INVALID, URL_SCHEME_NOT_ALLOWED, URL_CREDENTIALS_NOT_ALLOWED, GIT_NOT_A_REPO, GIT_AUTH_REQUIRED, GIT_REPO_NOT_FOUND, GIT_TLS, GIT_TIMEOUT, GIT_UNREACHABLE, REPO_EMPTY, RECIPE_NOT_FOUND, RECIPE_INVALID, DOCKERFILE_PARSE, TARGET_NOT_FOUND, COMPONENT_NOT_FOUND, DEPENDENCY_INVALID, DEPENDENCY_CYCLE, DEPENDENCY_FAILED, SUBMODULE_DENIED, SUBMODULE_DEPTH, LFS_NOT_SUPPORTED"
//	@Failure		429	{object}	ErrorBody		"RATE_LIMITED, QUEUE_FULL"
//	@Failure		500	{object}	ErrorBody		"INTERNAL"
//	@Failure		503	{object}	ErrorBody		"UNAVAILABLE, SHUTTING_DOWN"
//	@Failure		507	{object}	ErrorBody		"STORAGE_FULL"
//	@Router			/api/v1/components [post]
func (s *Server) postComponent(c *gin.Context) {
	sub, err := s.submitComponent(c)
	if err != nil {
		s.refuseSubmission(c, err)
		return
	}
	s.answerSubmission(c, sub)
}

func (s *Server) submitComponent(c *gin.Context) (model.Submission, error) {
	who, err := requesterOf(c)
	if err != nil {
		return model.Submission{}, err
	}
	key, err := idempotencyKeyOf(c.Request.Header)
	if err != nil {
		return model.Submission{}, err
	}
	if _, err := queryOf(c); err != nil {
		return model.Submission{}, err
	}
	f, err := readComponentJSON(c.Request)
	if err != nil {
		return model.Submission{}, err
	}
	f.req.Requester, f.req.IdempotencyKey = who, key
	sub, err := s.cfg.Components.SubmitComponent(c.Request.Context(), f.req)
	return sub, f.respell(err)
}

// refuseSubmission is refuse for requests to build: a component that one names and that is not there is a fault of the
// request, and not a page that was not found.
func (s *Server) refuseSubmission(c *gin.Context, err error) {
	if e := model.AsError(err); e.Code == model.CodeComponentNotFound {
		s.refuseAs(c, e, http.StatusUnprocessableEntity)
		return
	}
	s.refuse(c, err)
}

// getComponent gives a component, and builds it when there is none.
//
//	@Summary		Get a component, built on demand
//	@Description	When the component is there for the tag's commit and the architecture, it is handed out in the `format` asked for:
//	@Description	`json` describes it and has a download URL, `path` has the path of a read-only tree on the server's disk and a command that
//	@Description	copies it, and `tar.gz`, `tar.zst`, `tar` and `zip` are its bytes, with `Range`, `If-Range`, `ETag` and `Content-Digest`. A path
//	@Description	stays for a day after it was last asked for, and less only when the server's disk is nearly full.
//	@Description
//	@Description	Where an object store sends the bytes itself, the answer is a redirect to it, which must not be followed with the API key:
//	@Description	`curl -L` leaves `Authorization: Bearer KEY` out on another host, and sends `X-API-Key` along. The store has entity tags of its
//	@Description	own, so that `If-Match` and `If-Range` are not for it either.
//	@Description
//	@Description	When there is none, it is built, if the key holds `components:write`: 202 with `buildId` and `Location`, or with `Prefer: wait=N`
//	@Description	up to N seconds later the component. A build that failed answers with the status of its `code`, its `buildId` and the last
//	@Description	lines of its log; so does the next request for the same, unless `retry=1` or the reason was a passing one.
//	@Description
//	@Description	`tag` is any git ref. A branch is resolved each time; a tag or commit that was built is answered from the store, and `retry=1`
//	@Description	resolves it again. The header `X-Cooper-Commit` names the commit of what is sent, and `X-Cooper-Digest` the digest of the whole
//	@Description	file in that format. A commit may be built more than once, with other results: `digest` gets the same bytes for as long as
//	@Description	they are kept, and is what download URLs have. HEAD tells what GET would send, and starts no build: 404 when there is none.
//	@Tags			components
//	@Produce		json
//	@Produce		application/gzip
//	@Produce		application/zstd
//	@Produce		application/x-tar
//	@Produce		application/zip
//	@Security		ApiKeyAuth
//	@Param			component		query		string	true	"Name of the component"	example(zlib)
//	@Param			tag				query		string	false	"Git tag, branch or commit; the default branch when left out"	example(v1.3)
//	@Param			architecture	query		string	false	"Platform, or name of an OS environment; the server's own platform when left out"	example(linux/arm64)
//	@Param			url				query		string	false	"The git repository; needed only the first time"	example(https://github.com/madler/zlib)
//	@Param			subdir			query		string	false	"Folder of the repository that the component is in"
//	@Param			commit			query		string	false	"Only what was built of this commit, of 40 hex digits; nothing is built"
//	@Param			digest			query		string	false	"Only the value whose tarball, in the format in which it is kept, has this digest; nothing is built"	example(sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f)
//	@Param			format			query		string	false	"What to answer with"	Enums(json, path, tar.gz, tar.zst, tar, zip)	default(json)
//	@Param			retry			query		boolean	false	"Build again although the same failed before, and resolve a tag again although it was built"
//	@Param			Prefer			header		string	false	"wait=N waits up to N seconds, at most 3600, for the outcome of a build"	example(wait=60)
//	@Param			Range			header		string	false	"Bytes wanted of a tarball"	example(bytes=1000-)
//	@Param			If-Range		header		string	false	"ETag for which Range holds; another gets the whole tarball"
//	@Param			If-None-Match	header		string	false	"ETags of what the caller has"
//	@Param			If-Match		header		string	false	"ETags of which the tarball must have one"
//	@Param			linux_username	header		string	false	"Linux user who asks: recorded with a build, and no proof of anything"
//	@Param			X-Linux-Username	header		string	false	"The same, for proxies that drop headers with underscores"
//	@Param			github_username	header		string	false	"GitHub user who asks: recorded with a build, and no proof of anything"
//	@Param			X-Github-Username	header		string	false	"The same, for proxies that drop headers with underscores"
//	@Success		200	{object}	ComponentBody	"available; with a tarball's format, its bytes"
//	@Header			200	{string}	ETag			"Digest of the bytes, in quotes"
//	@Header			200	{string}	Content-Digest	"sha-256 of the bytes, as RFC 9530 writes it"
//	@Header			200	{string}	X-Cooper-Commit	"Commit that they were built of"
//	@Header			200	{string}	X-Cooper-Digest	"Digest of the bytes"
//	@Success		202	{object}	SubmissionBody	"It is being built"
//	@Header			202	{string}	Location		"Where the build is"
//	@Header			202	{integer}	Retry-After		"Seconds after which asking again makes sense"
//	@Success		206	{string}	string			"The bytes that Range asked for"
//	@Success		304	{string}	string			"The caller has it"
//	@Success		307	{string}	string			"The store sends the bytes: go on without the API key"
//	@Failure		400	{object}	ErrorBody		"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody		"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	FailedComponentBody	"SCOPE_INSUFFICIENT, FRONTEND_NOT_ALLOWED, ENTITLEMENT_DENIED, SOURCE_DENIED, URL_HOST_DENIED, URL_PORT_DENIED, REDIRECT_DENIED"
//	@Failure		404	{object}	ErrorBody		"COMPONENT_NOT_FOUND, NOT_FOUND"
//	@Failure		409	{object}	FailedComponentBody	"PATH_NOT_AVAILABLE, REF_AMBIGUOUS, CANCELED"
//	@Failure		412	{object}	ErrorBody		"PRECONDITION_FAILED"
//	@Failure		413	{object}	FailedComponentBody	"REPO_TOO_LARGE, REPO_TOO_MANY_FILES"
//	@Failure		416	{object}	ErrorBody		"RANGE_NOT_SATISFIABLE"
//	@Failure		422	{object}	FailedComponentBody	"FIELD_REQUIRED, FIELD_INVALID_CHAR, NAME_INVALID, NAME_TOO_LONG, REF_INVALID, REF_NOT_FOUND, PLATFORM_UNSUPPORTED, SOURCE_INVALID, URL_INVALID, URL_SCHEME_NOT_ALLOWED, URL_CREDENTIALS_NOT_ALLOWED, GIT_NOT_A_REPO, GIT_AUTH_REQUIRED, GIT_REPO_NOT_FOUND, GIT_TLS, GIT_TIMEOUT, GIT_UNREACHABLE, REPO_EMPTY, RECIPE_NOT_FOUND, RECIPE_INVALID, DOCKERFILE_PARSE, TARGET_NOT_FOUND, DEPENDENCY_INVALID, DEPENDENCY_CYCLE, DEPENDENCY_FAILED, SUBMODULE_DENIED, SUBMODULE_DEPTH, LFS_NOT_SUPPORTED, COMPONENT_EMPTY, COMPONENT_TOO_LARGE, COMPONENT_ENTRY_TYPE, STEP_FAILED, MEMORY_LIMIT, PIDS_LIMIT, DISK_LIMIT, BASE_IMAGE_NOT_FOUND, COPY_SOURCE_NOT_FOUND, BUILD_FAILED, BUILD_TIMEOUT: it cannot be built so"
//	@Failure		429	{object}	ErrorBody		"RATE_LIMITED, QUEUE_FULL"
//	@Failure		500	{object}	ErrorBody		"INTERNAL, ARTIFACT_CORRUPT"
//	@Failure		502	{object}	FailedComponentBody	"PUSH_FAILED"
//	@Failure		503	{object}	FailedComponentBody	"UNAVAILABLE, SHUTTING_DOWN, BUILDER_UNAVAILABLE, WORKER_LOST, NO_WORKER_FOR_PLATFORM, JOB_EXPIRED"
//	@Failure		507	{object}	FailedComponentBody	"STORAGE_FULL"
//	@Router			/api/v1/component [get]
func (s *Server) getComponent(c *gin.Context) {
	start := time.Now()
	q, format, err := componentQuery(c)
	if err == nil && format == formatPath {
		err = s.cfg.Tarballs.TreesHere() // before anything is built for a path that cannot be given
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	state, err := s.cfg.Components.Component(c.Request.Context(), q)
	if err == nil && state.Build != nil {
		state, err = s.awaitedComponent(c, state, start)
	}
	switch {
	case err != nil:
		s.refuseComponent(c, err)
	case state.Failed != nil:
		s.refuseFailed(c, state)
	case state.Component == nil:
		s.respondSubmission(c, model.Submission{Build: *state.Build})
	default:
		s.handOut(c, state, format)
	}
}
