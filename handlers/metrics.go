package handlers

import (
	"errors"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpMetrics counts requests by route template, never by path: the number of series must not grow with what callers
// ask for.
type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newHTTPMetrics registers the metrics. A registry that has them already (two servers in one process) shares them.
func newHTTPMetrics(reg *prometheus.Registry) (*httpMetrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cooper_http_requests_total", Help: "HTTP requests answered, by route, method and status code.",
	}, []string{"route", "method", "code"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cooper_http_request_duration_seconds", Help: "Time to answer HTTP requests, uploads and followed logs included.",
		Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 10, 60, 600},
	}, []string{"route", "method"})
	requests, err := register(reg, requests)
	if err != nil {
		return nil, err
	}
	duration, err = register(reg, duration)
	return &httpMetrics{requests: requests, duration: duration}, err
}

func register[C prometheus.Collector](reg *prometheus.Registry, c C) (C, error) {
	err := reg.Register(c)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		if same, ok := before.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	return c, err
}

func (m *httpMetrics) count(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route, method).Observe(took.Seconds())
}

// serveMetrics gives the metrics in Prometheus' text format.
//
//	@Summary	Metrics for Prometheus
//	@Tags		service
//	@Produce	plain
//	@Success	200	{string}	string	"Prometheus text format"
//	@Router		/metrics [get]
func (s *Server) serveMetrics() gin.HandlerFunc {
	return gin.WrapH(promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}))
}
