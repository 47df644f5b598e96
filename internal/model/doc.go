// Package model holds the types of Cooper's domain: builds, jobs, images, log lines, the state machine and the
// error type with its stable codes. It does no I/O and imports nothing of this module.
package model
