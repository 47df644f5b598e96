package handlers

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// postImage builds an image.
//
//	@Summary		Build an image from a Dockerfile
//	@Description	Queues a build of the Dockerfile for each architecture and answers 202 at once. With `Prefer: wait=N` it waits up to N
//	@Description	seconds for the outcome and answers 200 with it, also when the build failed: look at `status`.
//	@Description
//	@Description	An equal request that is in flight is joined: both get the same `buildId`, and `joined` is true.
//	@Description	A secret is given as `secret` with `ID=VALUE`, or as a file in a part that is named `secret.ID`.
//	@Description
//	@Description	The same may be sent as `application/json`, an object of at most 4 MiB and without an uploaded context:
//	@Description
//	@Description	```json
//	@Description	{
//	@Description	"component": "shop", "branch": "main", "tag": "1.2",
//	@Description	"dockerfile": "FROM scratch\nCOPY <<EOF /hello\nhi\nEOF\n",
//	@Description	"architecture": ["linux/amd64", "arm64"],
//	@Description	"buildArgs": {"VERSION": "1.2"}, "labels": {"org.example.team": "shop"}, "secrets": {"token": "s3cr3t"},
//	@Description	"noCache": false, "publish": "all", "compression": "gzip", "timeout": "30m"
//	@Description	}
//	@Description	```
//	@Description
//	@Description	| Field | Value |
//	@Description	| --- | --- |
//	@Description	| `dockerfile` | string, required: the Dockerfile's text, at most 1 MiB |
//	@Description	| `component` | string, required |
//	@Description	| `branch`, `tag`, `target`, `contextUrl`, `compression`, `publish`, `timeout` | string, as in the form |
//	@Description	| `architecture` | string, which may be a comma list, or a list of strings |
//	@Description	| `components` | string, which may be a comma list, or a list of strings: `["zlib@v1.3"]` |
//	@Description	| `noCache` | boolean |
//	@Description	| `buildArgs`, `labels`, `secrets` | object of strings: `{"NAME": "VALUE"}` |
//	@Description	| `buildArg`, `label`, `secret` | list of strings: `["NAME=VALUE"]`, the form's way to say the same |
//	@Description
//	@Description	An unknown field, one that is given twice, and a value of another type are refused.
//	@Tags			images
//	@Accept			mpfd
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			dockerfile		formData	file		true	"The Dockerfile, at most 1 MiB of UTF-8"
//	@Param			context			formData	file		false	"The build context: a tar, plain or compressed with gzip or zstd"
//	@Param			contextUrl		formData	string		false	"Instead of a context, a git repository: https://host/repository.git#ref:subdir"
//	@Param			component		formData	string		true	"Name of what is built; the image is called component-branch-image"	example(shop)
//	@Param			branch			formData	string		false	"Git branch that this is a build of"								default(main)
//	@Param			architecture	formData	[]string	false	"Platforms, such as linux/arm64, arm64 or aarch64, one a value or as a comma list; the server's own when left out"	collectionFormat(multi)	example(linux/amd64)
//	@Param			tag				formData	string		false	"Tag of the image"													default(latest)
//	@Param			target			formData	string		false	"Stage of the Dockerfile to build; the last one when left out"
//	@Param			buildArg		formData	[]string	false	"Build arguments, each K=V"											collectionFormat(multi)
//	@Param			secret			formData	[]string	false	"Secrets for RUN --mount=type=secret, each ID=VALUE; never stored or logged"	collectionFormat(multi)
//	@Param			label			formData	[]string	false	"Labels of the image, each K=V"										collectionFormat(multi)
//	@Param			noCache			formData	boolean		false	"Run every step again"
//	@Param			compression		formData	string		false	"Of new layers"	Enums(gzip, zstd)
//	@Param			publish			formData	string		false	"Move the tag for each platform as it is built, or when all have succeeded"	Enums(each, all)
//	@Param			timeout			formData	string		false	"How long the build may run, such as 30m"
//	@Param			components		formData	[]string	false	"Components that the Dockerfile finds as named contexts (COPY --from=zlib / /usr/local), each name@tag, one a value or as a comma list"	collectionFormat(multi)	example(zlib@v1.3)
//	@Param			Prefer			header		string		false	"wait=N waits up to N seconds, at most 3600, for the outcome"	example(wait=60)
//	@Param			Idempotency-Key	header		string		false	"A repeated request with the same key is the same request"
//	@Param			linux_username	header		string		false	"Linux user who asks: recorded and shown, and no proof of anything"
//	@Param			X-Linux-Username	header		string		false	"The same, for proxies that drop headers with underscores"
//	@Param			github_username	header		string		false	"GitHub user who asks: recorded and shown, and no proof of anything"
//	@Param			X-Github-Username	header		string		false	"The same, for proxies that drop headers with underscores"
//	@Success		200	{object}	SubmissionBody	"The build ended while it was waited for: succeeded, failed or canceled"
//	@Success		202	{object}	SubmissionBody	"Queued or running"
//	@Header			202	{string}	Location		"Where the build is"
//	@Header			202	{integer}	Retry-After		"Seconds after which asking again makes sense"
//	@Failure		400	{object}	ErrorBody		"BODY_MALFORMED, FIELD_UNKNOWN, FIELD_DUPLICATE, PARAM_INVALID, MULTIPART_MALFORMED, MULTIPART_TRUNCATED, MULTIPART_TOO_MANY_PARTS"
//	@Failure		401	{object}	ErrorBody		"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody		"SCOPE_INSUFFICIENT, FRONTEND_NOT_ALLOWED, ENTITLEMENT_DENIED, SOURCE_DENIED, URL_HOST_DENIED, URL_PORT_DENIED, REDIRECT_DENIED"
//	@Failure		408	{object}	ErrorBody		"BODY_TIMEOUT"
//	@Failure		409	{object}	ErrorBody		"IDEMPOTENCY_KEY_REUSED, TAG_EXISTS, REF_AMBIGUOUS"
//	@Failure		413	{object}	ErrorBody		"BODY_TOO_LARGE, DOCKERFILE_TOO_LARGE, SECRET_TOO_LARGE, CONTEXT_TOO_LARGE, CONTEXT_TOO_MANY_FILES"
//	@Failure		415	{object}	ErrorBody		"UNSUPPORTED_MEDIA_TYPE"
//	@Failure		422	{object}	ErrorBody		"NAME_INVALID, TAG_INVALID, PLATFORM_UNSUPPORTED, DOCKERFILE_REQUIRED, DOCKERFILE_PARSE, CONTEXT_NOT_TAR, COMPONENT_NOT_FOUND, DEPENDENCY_INVALID, DEPENDENCY_CYCLE and others: what was sent cannot be built"
//	@Failure		429	{object}	ErrorBody		"RATE_LIMITED, QUEUE_FULL"
//	@Failure		500	{object}	ErrorBody		"INTERNAL"
//	@Failure		503	{object}	ErrorBody		"UNAVAILABLE, SHUTTING_DOWN"
//	@Failure		507	{object}	ErrorBody		"STORAGE_FULL"
//	@Router			/api/v1/images [post]
func (s *Server) postImage(c *gin.Context) {
	sub, err := s.submitImage(c)
	if err != nil {
		s.refuseSubmission(c, err)
		return
	}
	s.answerSubmission(c, sub)
}

// submitImage reads the request into a draft and submits it. The draft is dropped on every way out but success, a
// panic among them.
func (s *Server) submitImage(c *gin.Context) (model.Submission, error) {
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
	draft, kept := s.cfg.Builds.Draft(), false
	defer func() {
		if !kept {
			s.cfg.Builds.DropDraft(draft)
		}
	}()
	f, err := s.readImageRequest(c.Request.Context(), c.Request, draft)
	if err != nil {
		return model.Submission{}, err
	}
	f.req.Requester, f.req.IdempotencyKey = who, key
	sub, err := s.cfg.Builds.SubmitImage(c.Request.Context(), f.req)
	kept = err == nil
	return sub, f.respell(err)
}

// readImageRequest reads the request's body by its media type.
func (s *Server) readImageRequest(ctx context.Context, r *http.Request, draft string) (*imageFields, error) {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case mediaType == "application/json":
		return s.readImageJSON(r, draft)
	case mediaType == "multipart/form-data":
		return s.readImageForm(ctx, r, params["boundary"], draft)
	case err != nil && strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "multipart/form-data"):
		return s.readImageForm(ctx, r, "", draft)
	}
	return nil, &model.Error{
		Code: model.CodeUnsupportedMediaType, Message: "Send the request as multipart/form-data (curl -F) or application/json.",
		Allowed: []string{"multipart/form-data", "application/json"},
	}
}

// getImage answers whether an image can be pulled.
//
//	@Summary		Get an image to pull
//	@Description	Answers 200 when the image can be pulled for the architecture. Otherwise 404, with `buildId` when a build of it is under way.
//	@Tags			images
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			component		query		string	true	"Name of what was built"	example(shop)
//	@Param			branch			query		string	false	"Its branch"				default(main)
//	@Param			architecture	query		string	false	"Platform; the server's own when left out"	example(linux/arm64)
//	@Param			tag				query		string	false	"Tag of the image"			default(latest)
//	@Success		200	{object}	ImageBody		"available"
//	@Failure		400	{object}	ErrorBody		"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody		"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody		"SCOPE_INSUFFICIENT"
//	@Failure		404	{object}	MissingImageBody	"not_found; with buildId when it is being built"
//	@Failure		422	{object}	ErrorBody		"FIELD_REQUIRED, NAME_INVALID, NAME_TOO_LONG, REF_INVALID, TAG_INVALID, PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR"
//	@Failure		429	{object}	ErrorBody		"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody		"INTERNAL"
//	@Failure		503	{object}	ErrorBody		"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/image [get]
func (s *Server) getImage(c *gin.Context) {
	q, err := queryOf(c, "component", "branch", "architecture", "tag")
	if err == nil && q["component"] == "" {
		err = model.FieldErrorf(model.CodeFieldRequired, "component", "Say which component's image is wanted: ?component=NAME.")
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	state, err := s.cfg.Images.Image(c.Request.Context(), model.ImageQuery{
		Component: q["component"], Branch: q["branch"], Tag: q["tag"], Architecture: q["architecture"],
	})
	switch {
	case err != nil:
		s.refuse(c, err)
	case state.Has():
		s.respond(c, http.StatusOK, s.imageBody(state))
	default:
		s.respond(c, http.StatusNotFound, s.missingImageBody(c, state))
	}
}

// listImages lists tags and their platforms.
//
//	@Summary	List images
//	@Tags		images
//	@Produce	json
//	@Security	ApiKeyAuth
//	@Param		component		query		string	false	"Only of this component"
//	@Param		branch			query		string	false	"Only of this branch"
//	@Param		tag				query		string	false	"Only with this tag"
//	@Param		architecture	query		string	false	"Only with this platform"
//	@Param		limit			query		integer	false	"Images on a page"	minimum(1)	maximum(500)	default(50)
//	@Param		cursor			query		string	false	"nextCursor of the page before"
//	@Success	200	{object}	ImagesBody
//	@Failure	400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure	401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure	403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure	422	{object}	ErrorBody	"PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR"
//	@Failure	429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure	500	{object}	ErrorBody	"INTERNAL"
//	@Failure	503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router		/api/v1/images [get]
func (s *Server) listImages(c *gin.Context) {
	f, err := s.imageFilter(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	limit := f.Limit
	f.Limit++ // one more tells whether there is a next page
	images, err := s.cfg.Images.Images(c.Request.Context(), f)
	if err != nil {
		s.refuse(c, err)
		return
	}
	body := ImagesBody{Envelope: Envelope{Status: "ok"}, Images: []ImageEntry{}}
	if len(images) > limit {
		images = images[:limit]
		last := images[limit-1]
		body.NextCursor = pageCursor{List: "images", First: last.Repository, Second: last.Tag}.encode()
	}
	for _, image := range images {
		body.Images = append(body.Images, s.imageEntry(image))
	}
	s.respond(c, http.StatusOK, body)
}

func (s *Server) imageFilter(c *gin.Context) (model.ImageFilter, error) {
	q, err := queryOf(c, "component", "branch", "tag", "architecture", "limit", "cursor")
	if err != nil {
		return model.ImageFilter{}, err
	}
	limit, err := q.limit()
	if err != nil {
		return model.ImageFilter{}, err
	}
	at, err := cursorOf(q, "images")
	if err != nil {
		return model.ImageFilter{}, err
	}
	platform, err := s.platform(q, "architecture")
	return model.ImageFilter{
		Component: q["component"], Branch: q["branch"], Tag: q["tag"], Platform: platform,
		AfterRepository: at.First, AfterTag: at.Second, Limit: limit,
	}, err
}
