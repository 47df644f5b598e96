package handlers

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Config's limits, and limits that nobody needs to set.
const (
	defaultMaxContext = int64(2) << 30
	defaultMaxStreams = 1000
	defaultStall      = 30 * time.Second

	maxJSONBody      = int64(4) << 20
	maxFormValues    = int64(16) << 20
	maxDockerfile    = int64(1) << 20
	maxSecret        = int64(500) << 10
	maxParts         = 1000
	maxWait          = time.Hour
	logFlushInterval = 200 * time.Millisecond
	ssePingInterval  = 15 * time.Second
)

// Config is what the API needs. The interfaces and Log must be set.
type Config struct {
	Builds     Builds
	Images     Images
	Components Components
	Tarballs   Tarballs
	Logs       Logs
	Auth       Authenticator
	Health     Health
	Log        *slog.Logger
	// Registry serves /v2 and what is below it, where image clients look for a registry; nil when it is elsewhere. It
	// decides itself who may do what.
	Registry http.Handler

	Metrics   *prometheus.Registry // gets the HTTP metrics and is served at /metrics; a new one when nil
	Version   string               // of this server, as /version tells it
	PublicURL string               // put in front of links in responses; they are paths when it is empty
	// Platform turns an architecture as callers write it (arm64, aarch64, linux/arm64) into a platform, for the filters of
	// listings and logs. PLATFORM_UNSUPPORTED when it is none. When nil, architectures are taken as they come.
	Platform func(architecture string) (string, error)

	MaxContextBytes int64         // of an uploaded build context; 0 means 2 GiB
	MaxStreams      int           // logs read at once; 0 means 1,000
	BodyStall       time.Duration // a request's body may stand still for so long; 0 means 30 s
	WriteStall      time.Duration // a response's reader may stand still for so long; 0 means 30 s
}

// Server answers the API. It is an http.Handler, safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	engine  *gin.Engine
	metrics *httpMetrics
	streams chan struct{} // one token for each log that is read
}

// New makes the API from its parts. It fails when one is missing or the registry refuses the metrics.
func New(cfg Config) (*Server, error) {
	if cfg.Builds == nil || cfg.Images == nil || cfg.Components == nil || cfg.Tarballs == nil || cfg.Logs == nil || cfg.Auth == nil ||
		cfg.Health == nil || cfg.Log == nil {
		return nil, errors.New("handlers: Builds, Images, Components, Tarballs, Logs, Auth, Health and Log must all be set")
	}
	cfg = withDefaults(cfg)
	m, err := newHTTPMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, metrics: m, streams: make(chan struct{}, cfg.MaxStreams)}
	return s, s.buildRouter()
}

func withDefaults(cfg Config) Config {
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Platform == nil {
		cfg.Platform = func(a string) (string, error) { return a, nil }
	}
	if cfg.MaxContextBytes <= 0 {
		cfg.MaxContextBytes = defaultMaxContext
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultMaxStreams
	}
	if cfg.BodyStall <= 0 {
		cfg.BodyStall = defaultStall
	}
	if cfg.WriteStall <= 0 {
		cfg.WriteStall = defaultStall
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	return cfg
}

// buildRouter makes the Gin engine out of the table of routes and nothing else.
func (s *Server) buildRouter() error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	if err := e.SetTrustedProxies(nil); err != nil {
		return err
	}
	e.Use(s.observe, s.recoverPanic)
	for _, r := range s.routes() {
		e.Handle(r.Method, r.Path, s.authorize(r.Scope), r.handler)
	}
	e.NoRoute(s.noRoute)
	e.NoMethod(s.noMethod)
	s.engine = e
	return nil
}

// ServeHTTP answers a request. HEAD is answered as GET, whose body is left out, except by the registry. The request is
// copied: net/http must find its own body in the one it made, or it reads what a client holds back until it is told to
// continue.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own := *r
	if r.ContentLength != 0 && r.Body != nil {
		own.Body = guardBody(w, r.Body, s.cfg.BodyStall)
	}
	if s.cfg.Registry != nil && isRegistry(r.URL.Path) {
		s.serveRegistry(w, &own)
		return
	}
	if r.Method == http.MethodHead {
		own.Method = http.MethodGet
		w = bodiless{w}
	}
	s.engine.ServeHTTP(w, &own)
}

// Limits sets what protects srv from clients that are slow or send huge headers. It leaves ReadTimeout and WriteTimeout
// off, since uploads and followed logs may take hours: handlers sets deadlines for every read and write instead.
func Limits(srv *http.Server) {
	srv.ReadHeaderTimeout = 5 * time.Second
	srv.IdleTimeout = 2 * time.Minute
	srv.MaxHeaderBytes = 64 << 10
}

// bodiless drops the body of an answer to HEAD.
type bodiless struct{ http.ResponseWriter }

func (w bodiless) Write(p []byte) (int, error) { return len(p), nil }

// Unwrap lets an http.ResponseController find the connection.
func (w bodiless) Unwrap() http.ResponseWriter { return w.ResponseWriter }
