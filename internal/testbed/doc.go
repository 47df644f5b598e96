// Package testbed gives tests, benchmarks and the demo real base images without a container registry: busybox for two
// architectures, a minimal Debian, and some with compilers and package managers, made from distribution packages that the
// set-up scripts put into a cache folder. It also pushes them to a registry. Nothing that ships imports it.
package testbed
