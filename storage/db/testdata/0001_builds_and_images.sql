INSERT INTO builds (id, kind, status, component, branch, repository, tag, key_id, linux_username, github_username,
	input_digest, askers, created, started, finished, failure, spec, dockerfile) VALUES
('0193f000-0000-7000-8000-000000000001', 'image', 'running', 'shop', 'main', 'shop-main-image', 'latest', 'k1', 'ada', '',
	'sha256:in1', 2, 1790000000000000, 1790000001000000, 0, NULL,
	'{"component":"shop","branch":"main","tag":"latest","repository":"shop-main-image","platforms":["linux/amd64","linux/arm64"],"dockerfile":"sha256:d","publish":"each"}',
	'FROM scratch'),
('0193f000-0000-7000-8000-000000000002', 'image', 'failed', 'shop', 'main', 'shop-main-image', 'latest', 'k1', '', 'ada-l',
	'sha256:in2', 1, 1790000000000000, 1790000001000000, 1790000002000000, '{"code":"STEP_FAILED","message":"make failed","line":2}',
	'{"component":"shop","branch":"main","tag":"latest","repository":"shop-main-image","platforms":["linux/amd64"],"dockerfile":"sha256:d","publish":"each"}',
	'FROM scratch');
INSERT INTO jobs (id, build_id, platform, status, attempt, worker, published, log_stored, exit_code, created, started, finished, failure, result) VALUES
('0193f000-0000-7000-8000-000000000011', '0193f000-0000-7000-8000-000000000001', 'linux/amd64', 'running', 2, 'w1', TRUE, FALSE, NULL,
	1790000000000000, 1790000001000000, 0, NULL, NULL),
('0193f000-0000-7000-8000-000000000012', '0193f000-0000-7000-8000-000000000001', 'linux/arm64', 'queued', 1, '', FALSE, FALSE, NULL,
	1790000000000000, 0, 0, NULL, NULL),
('0193f000-0000-7000-8000-000000000013', '0193f000-0000-7000-8000-000000000002', 'linux/amd64', 'failed', 1, 'w1', TRUE, TRUE, 7,
	1790000000000000, 1790000001000000, 1790000002000000, '{"code":"STEP_FAILED","message":"make failed","line":2}', NULL);
INSERT INTO job_counts (platform, status, total) VALUES ('linux/amd64', 'failed', 1), ('linux/amd64', 'running', 1), ('linux/arm64', 'queued', 1);
INSERT INTO images (repository, tag, component, branch, index_digest, updated) VALUES
('shop-main-image', 'latest', 'shop', 'main', 'sha256:index', 1790000002000000);
INSERT INTO image_platforms (repository, tag, platform, build_id, created, result) VALUES
('shop-main-image', 'latest', 'linux/amd64', 'x', 1790000002000000,
	'{"manifest":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:m","size":12}}');
INSERT INTO idempotency_keys (id, request_digest, build_id, created) VALUES
('k1/x', 'sha256:r', '0193f000-0000-7000-8000-000000000001', 1790000000000000000);
