INSERT INTO builds (id, kind, status, component, branch, repository, tag, key_id, linux_username, github_username,
	input_digest, askers, created, started, finished, failure, spec, dockerfile, image_tag) VALUES
('0193f000-0000-7000-8000-000000000001', 'image', 'running', 'shop', 'main', 'shop-main-image', 'latest', 'k1', 'ada', '',
	'sha256:in1', 2, 1790000000000000, 1790000001000000, 0, NULL,
	'{"component":"shop","branch":"main","tag":"latest","repository":"shop-main-image","platforms":["linux/amd64","linux/arm64"],"dockerfile":"sha256:d","publish":"each"}',
	'FROM scratch', 'latest'),
('0193f000-0000-7000-8000-000000000002', 'image', 'failed', 'shop', 'main', 'shop-main-image', 'latest', 'k1', '', 'ada-l',
	'sha256:in2', 1, 1790000000000000, 1790000001000000, 1790000002000000, '{"code":"STEP_FAILED","message":"make failed","line":2}',
	'{"component":"shop","branch":"main","tag":"latest","repository":"shop-main-image","platforms":["linux/amd64"],"dockerfile":"sha256:d","publish":"each"}',
	'FROM scratch', 'latest'),
('0193f000-0000-7000-8000-000000000003', 'component', 'succeeded', 'zlib', '', 'components/zlib', 'v1.3', 'k1', 'ada', '',
	'sha256:in3', 1, 1790000000000000, 1790000001000000, 1790000002000000, NULL,
	'{"componentSpec":{"component":"zlib","tag":"v1.3","environment":"","platforms":["linux/amd64"],"repository":"components/zlib","imageTag":"v1.3","source":{"url":"https://example.com/zlib.git","ref":"v1.3","commit":"0123456789012345678901234567890123456789","refKind":"tag"},"commitTime":"2026-01-02T03:04:05Z","recipe":{"kind":"make","file":"Makefile","reason":"There is a Makefile."},"dockerfile":"sha256:d"}}',
	'FROM scratch', 'v1.3'),
('0193f000-0000-7000-8000-000000000004', 'component', 'queued', 'libpng', '', 'components/libpng', 'v1.3', 'k1', 'ada', '',
	'sha256:in4', 1, 1790000000000000, 0, 0, NULL,
	'{"componentSpec":{"component":"libpng","tag":"v1.3","environment":"","platforms":["linux/amd64"],"repository":"components/libpng","imageTag":"v1.3","source":{"url":"https://example.com/libpng.git","ref":"v1.3","commit":"0123456789012345678901234567890123456789","refKind":"tag"},"commitTime":"2026-01-02T03:04:05Z","recipe":{"kind":"make","file":"Makefile","reason":"There is a Makefile."},"dockerfile":"sha256:d"}}',
	'FROM scratch', 'v1.3');
INSERT INTO jobs (id, build_id, platform, status, attempt, worker, published, log_stored, exit_code, created, started, finished, failure, result, due, input) VALUES
('0193f000-0000-7000-8000-000000000011', '0193f000-0000-7000-8000-000000000001', 'linux/amd64', 'running', 2, 'w1', TRUE, FALSE, NULL,
	1790000000000000, 1790000001000000, 0, NULL, NULL, 1790000000000000, ''),
('0193f000-0000-7000-8000-000000000012', '0193f000-0000-7000-8000-000000000001', 'linux/arm64', 'queued', 1, '', FALSE, FALSE, NULL,
	1790000000000000, 0, 0, NULL, NULL, 1790000000000000, ''),
('0193f000-0000-7000-8000-000000000013', '0193f000-0000-7000-8000-000000000002', 'linux/amd64', 'failed', 1, 'w1', TRUE, TRUE, 7,
	1790000000000000, 1790000001000000, 1790000002000000, '{"code":"STEP_FAILED","message":"make failed","line":2}', NULL, 1790000000000000, ''),
('0193f000-0000-7000-8000-000000000014', '0193f000-0000-7000-8000-000000000003', 'linux/amd64', 'succeeded', 1, 'w1', TRUE, TRUE, NULL,
	1790000000000000, 1790000001000000, 1790000002000000, NULL,
	'{"manifest":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:m","size":12},"tarball":{"digest":"sha256:t","size":34,"format":"tar.gz","diffId":"sha256:u"}}', 1790000000000000, 'sha256:in3'),
('0193f000-0000-7000-8000-000000000015', '0193f000-0000-7000-8000-000000000004', 'linux/amd64', 'queued', 1, '', FALSE, FALSE, NULL,
	1790000000000000, 0, 0, NULL, NULL, 1790000000000000, 'sha256:in4');
INSERT INTO job_waits (job_id, build_id) VALUES ('0193f000-0000-7000-8000-000000000015', '0193f000-0000-7000-8000-000000000003');
INSERT INTO component_sources (name, url, subdir, updated) VALUES ('zlib', 'https://example.com/zlib.git', '', 1790000000000000);
INSERT INTO component_values (id, name, tag, environment, platform, commit_id, digest, build_id, newest, previous_commit, commit_time, created,
	recipe, repository, image_tag, source, tarball, manifest, dependencies) VALUES
('0193f000-0000-7000-8000-000000000014', 'zlib', 'v1.3', '', 'linux/amd64', '0123456789012345678901234567890123456789', 'sha256:t',
	'0193f000-0000-7000-8000-000000000003', TRUE, '', 1767323045000000, 1790000002000000, 'make', 'components/zlib', 'v1.3',
	'{"url":"https://example.com/zlib.git","ref":"v1.3","commit":"0123456789012345678901234567890123456789","refKind":"tag"}',
	'{"digest":"sha256:t","size":34,"format":"tar.gz","diffId":"sha256:u"}',
	'{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:m","size":12}', NULL);
INSERT INTO job_counts (platform, status, total) VALUES ('linux/amd64', 'failed', 1), ('linux/amd64', 'running', 1),
	('linux/amd64', 'succeeded', 1), ('linux/amd64', 'queued', 1), ('linux/arm64', 'queued', 1);
INSERT INTO images (repository, tag, component, branch, index_digest, updated) VALUES
('shop-main-image', 'latest', 'shop', 'main', 'sha256:index', 1790000002000000);
INSERT INTO image_platforms (repository, tag, platform, build_id, created, result) VALUES
('shop-main-image', 'latest', 'linux/amd64', 'x', 1790000002000000,
	'{"manifest":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:m","size":12}}');
INSERT INTO idempotency_keys (id, request_digest, build_id, created) VALUES
('k1/x', 'sha256:r', '0193f000-0000-7000-8000-000000000001', 1790000000000000000);
