package builder

import (
	"sync"
	"time"
)

// pauses holds back jobs between their attempts: what failed a moment ago for a reason outside of the job would most
// likely fail again at once. They are kept in memory only: after a restart everything is due.
type pauses struct {
	mu  sync.Mutex
	due map[string]time.Time // by job ID
}

func newPauses() *pauses { return &pauses{due: map[string]time.Time{}} }

// pauseBefore is how long a job waits before an attempt.
func pauseBefore(attempt int) time.Duration {
	if attempt <= 2 {
		return 2 * time.Second
	}
	return 15 * time.Second
}

func (p *pauses) hold(jobID string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due[jobID] = time.Now().Add(d)
}

// held reports whether the job has to wait; once it has not, it is forgotten.
func (p *pauses) held(jobID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	due, ok := p.due[jobID]
	if ok && time.Now().Before(due) {
		return true
	}
	delete(p.due, jobID)
	return false
}
