package builder

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cooper/internal/model"
)

// countWithin bounds the count that a scrape does.
const countWithin = 5 * time.Second

// metrics are what Prometheus sees of builds. It is a prometheus.Collector.
type metrics struct {
	service  *Service
	jobs     *prometheus.Desc
	workers  *prometheus.Desc
	waited   *prometheus.HistogramVec
	duration *prometheus.HistogramVec
}

func newMetrics(s *Service) *metrics {
	buckets := []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}
	return &metrics{
		service: s,
		jobs:    prometheus.NewDesc("cooper_jobs", "Jobs by platform and status; queued is the queue's depth.", []string{"platform", "status"}, nil),
		workers: prometheus.NewDesc("cooper_workers", "Live workers, by whether their BuildKit is ready.", []string{"ready"}, nil),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cooper_job_wait_seconds", Help: "Time from a job's request to its start.", Buckets: buckets,
		}, []string{"platform"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cooper_job_duration_seconds", Help: "Time from a job's start to its end.", Buckets: buckets,
		}, []string{"platform", "status"}),
	}
}

// Collector gives the service's metrics to a Prometheus registry.
func (s *Service) Collector() prometheus.Collector { return s.metrics }

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	c <- m.jobs
	c <- m.workers
	m.waited.Describe(c)
	m.duration.Describe(c)
}

// Collect is part of prometheus.Collector. Jobs are counted in the database, so that every server says the same.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), countWithin)
	defer cancel()
	counts, err := m.service.Store.JobCounts(ctx)
	if err != nil {
		c <- prometheus.NewInvalidMetric(m.jobs, err)
	}
	for _, n := range counts {
		c <- prometheus.MustNewConstMetric(m.jobs, prometheus.GaugeValue, float64(n.Count), n.Platform, string(n.Status))
	}
	ready := map[string]int{"true": 0, "false": 0}
	for _, w := range m.service.Workers() {
		if w.Ready {
			ready["true"]++
		} else {
			ready["false"]++
		}
	}
	for is, n := range ready {
		c <- prometheus.MustNewConstMetric(m.workers, prometheus.GaugeValue, float64(n), is)
	}
	m.waited.Collect(c)
	m.duration.Collect(c)
}

func (m *metrics) started(j model.Job, now time.Time) {
	m.waited.WithLabelValues(j.Platform).Observe(now.Sub(j.Created).Seconds())
}

func (m *metrics) finished(j model.Job) {
	if !j.Started.IsZero() {
		m.duration.WithLabelValues(j.Platform, string(j.Status)).Observe(j.Finished.Sub(j.Started).Seconds())
	}
}
