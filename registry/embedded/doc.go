// Package embedded is an OCI registry inside the process: CNCF Distribution on the local disk, as one http.Handler for
// /v2/. It is the only importer of distribution, and mends what distribution leaves open: bytes are durable before they
// are acknowledged, refusals have the OCI error shape with the right status, no answer names a path of the host, and the
// library's log goes to ours. Who may do what is decided by an Authorizer; names, tags and indexes are package registry's.
package embedded
