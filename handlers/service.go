package handlers

import (
	"net/http"
	"runtime"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// ReadyPart is how one part of the service does.
type ReadyPart struct {
	Part   string `json:"part" example:"buildkit"`
	Ready  bool   `json:"ready" example:"true"`
	Detail string `json:"detail,omitempty" example:"Builds share the host's network: install the CNI plugins."` // what is wrong and what to do, or a note
} // @name ReadyPart

// ReadyBody tells whether the service can take work.
type ReadyBody struct {
	Status       string      `json:"status" example:"ready"` // ready or not_ready
	ErrorMessage string      `json:"errorMessage" example:""`
	Code         model.Code  `json:"code,omitempty" example:"UNAVAILABLE"`
	RequestID    string      `json:"requestId,omitempty" example:"5f0c1c2e9a4b4d6f"`
	Parts        []ReadyPart `json:"parts"`
} // @name Ready

// VersionBody tells what is running.
type VersionBody struct {
	Envelope
	Version    string `json:"version" example:"v0.1.0"`
	APIVersion string `json:"apiVersion" example:"v1"`
	GoVersion  string `json:"goVersion" example:"go1.26.8"`
	Platform   string `json:"platform" example:"linux/amd64"` // of the server
} // @name Version

// healthz tells that the process answers.
//
//	@Summary	Is the process alive
//	@Tags		service
//	@Produce	json
//	@Success	200	{object}	Envelope
//	@Router		/healthz [get]
func (s *Server) healthz(c *gin.Context) {
	s.respond(c, http.StatusOK, Envelope{Status: "ok"})
}

// readyz tells whether every part works.
//
//	@Summary	Can the service take work
//	@Tags		service
//	@Produce	json
//	@Success	200	{object}	ReadyBody	"Every part works; details may still warn"
//	@Failure	503	{object}	ReadyBody	"UNAVAILABLE: a part does not work"
//	@Router		/readyz [get]
func (s *Server) readyz(c *gin.Context) {
	body, status := ReadyBody{Status: "ready", Parts: []ReadyPart{}}, http.StatusOK
	for _, r := range s.cfg.Health.Readiness(c.Request.Context()) {
		body.Parts = append(body.Parts, ReadyPart{Part: r.Part, Ready: r.Ready, Detail: r.Detail})
		if !r.Ready && status == http.StatusOK {
			status = statusOf(model.CodeUnavailable)
			body.Status, body.Code, body.RequestID = "not_ready", model.CodeUnavailable, exchangeOf(c).requestID
			body.ErrorMessage = "Not ready: " + r.Part + ": " + r.Detail
		}
	}
	s.errorHeaders(c, status)
	s.respond(c, status, body)
}

// version tells what is running.
//
//	@Summary	Version of the server
//	@Tags		service
//	@Produce	json
//	@Success	200	{object}	VersionBody
//	@Router		/version [get]
func (s *Server) version(c *gin.Context) {
	s.respond(c, http.StatusOK, VersionBody{
		Envelope: Envelope{Status: "ok"}, Version: s.cfg.Version, APIVersion: "v1",
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	})
}
