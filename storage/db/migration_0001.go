package db

// buildsAndImages is the first schema. Times are microseconds since 1970 UTC, 0 for none. Rows that are few among many
// have partial indexes, so that finished jobs cost the queue's queries nothing; each query repeats its condition
// literally, or no planner uses them.
//
// builds_joinable is what makes equal requests one build: two rows of one input digest cannot both be in flight and
// asked for. A build that its last asker has left is not joined any more, although it may take a while to stop.
//
// job_counts is kept in step with jobs by every transaction that moves one. The long columns of builds come last, so
// that reading the others does not touch their pages.
const buildsAndImages = `
CREATE TABLE builds (
	id              {text} NOT NULL PRIMARY KEY,
	kind            {text} NOT NULL,
	status          {text} NOT NULL,
	component       {text} NOT NULL,
	branch          {text} NOT NULL,
	repository      {text} NOT NULL,
	tag             {text} NOT NULL,
	key_id          {text} NOT NULL,
	linux_username  {text} NOT NULL,
	github_username {text} NOT NULL,
	input_digest    {text},
	askers          INTEGER NOT NULL,
	created         BIGINT NOT NULL,
	started         BIGINT NOT NULL,
	finished        BIGINT NOT NULL,
	failure         TEXT,
	spec            TEXT NOT NULL,
	dockerfile      TEXT NOT NULL
);
CREATE UNIQUE INDEX builds_joinable ON builds (input_digest)
	WHERE status IN ('queued', 'running') AND askers > 0;
CREATE INDEX builds_in_flight ON builds (repository, tag, id) WHERE status IN ('queued', 'running');
CREATE INDEX builds_by_status ON builds (status, id);
CREATE INDEX builds_by_kind ON builds (kind, id);
CREATE INDEX builds_by_component ON builds (component, branch, id);
CREATE INDEX builds_by_component_only ON builds (component, id);
CREATE INDEX builds_by_branch ON builds (branch, id);
CREATE INDEX builds_by_linux_username ON builds (linux_username, id) WHERE linux_username <> '';
CREATE INDEX builds_by_github_username ON builds (github_username, id) WHERE github_username <> '';

CREATE TABLE jobs (
	id         {text} NOT NULL PRIMARY KEY,
	build_id   {text} NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
	platform   {text} NOT NULL,
	status     {text} NOT NULL,
	attempt    INTEGER NOT NULL,
	worker     {text} NOT NULL,
	published  BOOLEAN NOT NULL,
	log_stored BOOLEAN NOT NULL,
	exit_code  INTEGER,
	created    BIGINT NOT NULL,
	started    BIGINT NOT NULL,
	finished   BIGINT NOT NULL,
	failure    TEXT,
	result     TEXT
);
CREATE UNIQUE INDEX jobs_of_build ON jobs (build_id, platform);
CREATE INDEX jobs_by_platform ON jobs (platform, build_id);
CREATE INDEX jobs_queued ON jobs (id) WHERE status = 'queued';
CREATE INDEX jobs_queued_by_platform ON jobs (platform, id) WHERE status = 'queued';
CREATE INDEX jobs_unpublished ON jobs (id) WHERE status = 'queued' AND NOT published;
CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running';
CREATE INDEX jobs_without_log ON jobs (id) WHERE finished > 0 AND NOT log_stored;

CREATE TABLE job_counts (
	platform {text} NOT NULL,
	status   {text} NOT NULL,
	total    BIGINT NOT NULL,
	PRIMARY KEY (platform, status)
);

CREATE TABLE images (
	repository   {text} NOT NULL,
	tag          {text} NOT NULL,
	component    {text} NOT NULL,
	branch       {text} NOT NULL,
	index_digest {text} NOT NULL,
	updated      BIGINT NOT NULL,
	PRIMARY KEY (repository, tag)
);
CREATE INDEX images_by_component ON images (component, branch, repository, tag);
CREATE INDEX images_by_component_only ON images (component, repository, tag);
CREATE INDEX images_by_branch ON images (branch, repository, tag);
CREATE INDEX images_by_tag ON images (tag, repository);

CREATE TABLE image_platforms (
	repository {text} NOT NULL,
	tag        {text} NOT NULL,
	platform   {text} NOT NULL,
	build_id   {text} NOT NULL,
	created    BIGINT NOT NULL,
	result     TEXT NOT NULL,
	PRIMARY KEY (repository, tag, platform),
	FOREIGN KEY (repository, tag) REFERENCES images (repository, tag) ON DELETE CASCADE
);
CREATE INDEX image_platforms_by_platform ON image_platforms (platform, repository, tag);

CREATE TABLE idempotency_keys (
	id             {text} NOT NULL PRIMARY KEY,
	request_digest {text} NOT NULL,
	build_id       {text} NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
	created        BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created);
CREATE INDEX idempotency_keys_by_build ON idempotency_keys (build_id);
`
