// Package walls holds the table of who may import whom in this module, and the check that its tests run over every
// package. The linter enforces the same table (.golangci.yml); this package is for where the linter does not run.
package walls
