// Package handlers is Cooper's HTTP API: the router and its table of routes, who may call what, the requests' reading
// and checking, the responses and the one writer of errors. It knows HTTP and nothing else does; everything behind it
// is reached through the interfaces in services.go, which cmd/cooper wires. What a name, a platform, a Dockerfile or a
// build context may be is not decided here.
package handlers
