// Package testbed gives tests, benchmarks and the demo real base images without a container registry: busybox for two
// architectures and a minimal Debian, made from distribution packages that the set-up scripts put into a cache folder.
// It also pushes them to a registry. Nothing that ships imports it.
package testbed
