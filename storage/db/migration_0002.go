package db

// components is the second schema: the values of components, where they come from, and jobs that wait for builds.
//
// image_tag is the tag of the image in its repository, which tag is not for a component: that keeps the ref as it was
// asked for. due is since when a job could have been taken; a job that waited for builds was not late meanwhile.
//
// component_values has a row for everything that a job ever made of a component. newest marks the last of each name,
// tag, environment and platform, and components_newest lets there be one only. The indexes of pages come in pairs, of
// all values and of the newest. They hold what a page is filtered by beside their first columns, so that the rows that
// are left out are not read. That newest is a column of indexes in which it is always true makes them match a search
// better, to a planner that counts columns, than those of all values, in which it would pass by all that is old.
//
// input of a job names what its platform of a component is made of, as builds.input_digest names that of a whole build:
// by it, how the same ended before is found, whatever other platforms were built with it.
const components = `
ALTER TABLE builds ADD COLUMN image_tag {text} NOT NULL DEFAULT '';
UPDATE builds SET image_tag = tag;
DROP INDEX builds_in_flight;
CREATE INDEX builds_in_flight ON builds (repository, image_tag, id) WHERE status IN ('queued', 'running');

ALTER TABLE jobs ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET due = created;
ALTER TABLE jobs ADD COLUMN input TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_by_input ON jobs (input, id) WHERE input <> '';

CREATE TABLE job_waits (
	job_id   {text} NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	build_id {text} NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
	PRIMARY KEY (job_id, build_id)
);
CREATE INDEX job_waits_by_build ON job_waits (build_id);

CREATE TABLE component_sources (
	name    {text} NOT NULL PRIMARY KEY,
	url     TEXT NOT NULL,
	subdir  TEXT NOT NULL,
	updated BIGINT NOT NULL
);

CREATE TABLE component_values (
	id              {text} NOT NULL PRIMARY KEY,
	name            {text} NOT NULL,
	tag             {text} NOT NULL,
	environment     {text} NOT NULL,
	platform        {text} NOT NULL,
	commit_id       {text} NOT NULL,
	digest          {text} NOT NULL,
	build_id        {text} NOT NULL,
	newest          BOOLEAN NOT NULL,
	previous_commit TEXT NOT NULL,
	commit_time     BIGINT NOT NULL,
	created         BIGINT NOT NULL,
	recipe          TEXT NOT NULL,
	repository      TEXT NOT NULL,
	image_tag       TEXT NOT NULL,
	source          TEXT NOT NULL,
	tarball         TEXT NOT NULL,
	manifest        TEXT NOT NULL,
	dependencies    TEXT
);
CREATE UNIQUE INDEX components_newest ON component_values (newest, name, tag, environment, platform) WHERE newest;
CREATE UNIQUE INDEX components_of_build ON component_values (build_id, platform);
CREATE INDEX components_history ON component_values (name, tag, environment, platform, id);
CREATE INDEX components_at_commit ON component_values (name, commit_id, environment, platform, id);
CREATE INDEX components_by_commit ON component_values (commit_id, id);
CREATE INDEX components_by_digest ON component_values (digest, id);
CREATE INDEX components_by_name ON component_values (name, id, platform, environment);
CREATE INDEX components_by_name_and_platform ON component_values (name, platform, id, environment);
CREATE INDEX components_by_name_and_tag ON component_values (name, tag, id, platform, environment);
CREATE INDEX components_by_tag ON component_values (tag, id, platform, environment);
CREATE INDEX components_by_tag_and_platform ON component_values (tag, platform, id, environment);
CREATE INDEX components_by_platform ON component_values (platform, id);
CREATE INDEX components_by_environment ON component_values (environment, id);
CREATE INDEX components_by_environment_and_platform ON component_values (environment, platform, id);
CREATE INDEX components_newest_by_id ON component_values (newest, id) WHERE newest;
CREATE INDEX components_newest_by_name ON component_values (newest, name, id, platform, environment) WHERE newest;
CREATE INDEX components_newest_by_tag ON component_values (newest, tag, id, platform, environment) WHERE newest;
CREATE INDEX components_newest_by_platform ON component_values (newest, platform, id) WHERE newest;
CREATE INDEX components_newest_by_environment ON component_values (newest, environment, id) WHERE newest;
CREATE INDEX components_newest_by_environment_and_platform ON component_values (newest, environment, platform, id) WHERE newest;
`
