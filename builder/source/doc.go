// Package source decides where builds may fetch from, and fetches git repositories: it vets URLs, hosts, image references
// and refs, resolves a ref to a commit, reads single files of a commit, and puts a commit's tree, with its submodules, into
// a folder with the real git program, over HTTPS and SSH and with the credentials of the configuration. It does not
// read build instructions and knows nothing of jobs.
package source
