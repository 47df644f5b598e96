// Package source decides where builds may fetch from, and fetches git repositories: it vets URLs, hosts, image references
// and refs, resolves a ref to a commit, and puts a commit's tree into a folder with the real git program. It does not
// read build instructions and knows nothing of jobs.
package source
