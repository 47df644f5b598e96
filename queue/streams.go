package queue

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

// The names of the streams and the roots of the subjects. All begin alike, so that one rule of an outside server's
// permissions covers Cooper.
const (
	streamJobs     = "COOPER_JOBS"
	streamOutcomes = "COOPER_OUTCOMES"
	streamLogs     = "COOPER_LOGS"

	subjectJobs      = "cooper.jobs."
	subjectOutcomes  = "cooper.outcomes."
	subjectLogs      = "cooper.log."
	subjectCancel    = "cooper.cancel."
	subjectHeartbeat = "cooper.heartbeat"
	subjectClaim     = "cooper.rpc.claim"
)

const (
	dedupWindow        = 2 * time.Minute
	defaultMaxLogBytes = 8 << 30
	answerWait         = 2 * time.Second // for one acknowledgement, before the message is sent again
)

// streamConfigs returns the three streams. Orders and outcomes have a subject each and a limit of one message per
// subject: that makes publishing idempotent for as long as the message is there, not only within the dedup window.
func (c *Conn) streamConfigs() []jetstream.StreamConfig {
	replicas, maxLog := c.cfg.Replicas, c.cfg.MaxLogBytes
	if replicas == 0 {
		replicas = 1
	}
	if maxLog == 0 {
		maxLog = defaultMaxLogBytes
	}
	once := jetstream.StreamConfig{
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1,
		Duplicates:           dedupWindow,
		Replicas:             replicas,
	}
	jobs, outcomes := once, once
	jobs.Name, jobs.Subjects = streamJobs, []string{subjectJobs + ">"}
	outcomes.Name, outcomes.Subjects = streamOutcomes, []string{subjectOutcomes + ">"}
	logs := jetstream.StreamConfig{
		Name:      streamLogs,
		Subjects:  []string{subjectLogs + "*"},
		Retention: jetstream.LimitsPolicy,
		Storage:   jetstream.FileStorage,
		Discard:   jetstream.DiscardOld,
		MaxBytes:  maxLog,
		Replicas:  replicas,
	}
	if c.engine != nil {
		logs.PersistMode = jetstream.AsyncPersistMode // see barrier; an outside server has its own ways
	}
	return []jetstream.StreamConfig{jobs, outcomes, logs}
}

// ensureStreams makes the streams that are missing and brings the others up to date.
func (c *Conn) ensureStreams(ctx context.Context) error {
	for _, cfg := range c.streamConfigs() {
		if c.engine == nil && cfg.Name == streamLogs {
			exists, err := c.adoptLogs(ctx)
			if err != nil {
				return err
			}
			if exists {
				continue
			}
		}
		if _, err := c.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

// adoptLogs sets the size of an outside server's log stream when one was configured and leaves the rest of it alone: a
// worker must not undo what the server set.
func (c *Conn) adoptLogs(ctx context.Context) (exists bool, err error) {
	stream, err := c.js.Stream(ctx, streamLogs)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	cfg := stream.CachedInfo().Config
	if c.cfg.MaxLogBytes == 0 || cfg.MaxBytes == c.cfg.MaxLogBytes {
		return true, nil
	}
	cfg.MaxBytes = c.cfg.MaxLogBytes
	_, err = c.js.UpdateStream(ctx, cfg)
	return true, err
}

// publish stores data under subject once: another message with the same ID, or one still kept under subject, makes it a
// success that changes nothing. That also makes it safe to try again when the server is silent.
func (c *Conn) publish(ctx context.Context, subject, id string, data []byte) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		err := c.publishOnce(ctx, subject, id, data)
		if err == nil || isAlreadyThere(err) {
			return nil
		}
		c.engine.report()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return unavailable(ctx, err)
		}
	}
}

// publishOnce waits for one answer. Streams that are gone are made again first.
func (c *Conn) publishOnce(ctx context.Context, subject, id string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	_, err := c.js.Publish(ctx, subject, data, jetstream.WithMsgID(id))
	if !errors.Is(err, jetstream.ErrNoStreamResponse) {
		return err
	}
	if err := c.ensureStreams(ctx); err != nil {
		return err
	}
	_, err = c.js.Publish(ctx, subject, data, jetstream.WithMsgID(id))
	return err
}

// isAlreadyThere reports whether a publish was refused because its subject holds a message. The server gives a refused
// store no code of its own, only this text.
func isAlreadyThere(err error) bool {
	const storeFailed = 10077
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed &&
		strings.Contains(api.Description, "maximum messages per subject")
}

// checkID refuses an ID that cannot be one token of a subject.
func checkID(id string) error {
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, notInToken) {
		return model.Errorf(model.CodeIDInvalid, "The job's ID is not one that Cooper gave: use the ID from the build's record.")
	}
	return nil
}

// platformToken returns the platform as one token of a subject: linux/arm64 is linux_arm64.
func platformToken(platform string) (string, error) {
	token := strings.ReplaceAll(platform, "/", "_")
	if platform == "" || strings.ContainsRune(platform, '_') || strings.ContainsFunc(token, notInToken) {
		return "", model.FieldErrorf(model.CodePlatformUnsupported, "architecture",
			"%q is not a platform; write it like linux/arm64.", platform)
	}
	return token, nil
}

// tokenPlatform is platformToken's inverse.
func tokenPlatform(token string) string { return strings.ReplaceAll(token, "_", "/") }

func notInToken(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
