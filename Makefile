# Cooper's commands. Each is what a person would type; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILDKIT := $(shell sed -n 's|^[[:space:]]*github.com/moby/buildkit \(v[^ ]*\).*|\1|p' go.mod)
GOLANGCI := 2.15.0
BIN := $(CURDIR)/bin
# -trimpath is for releases: with it every library is compiled a second time, apart from the tests' and the linter's.
RELEASE ?=
BUILD := go build -buildvcs=false $(if $(RELEASE),-trimpath)
SETUP := deployments/setup/setup.sh

# BuildKit's containers need root: who is not root gets it through sudo, for what runs and never for what compiles.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH" "HOME=$$HOME")
TEST_ROOT := $(if $(filter 0,$(shell id -u)),,-exec 'sudo -E env PATH=$(PATH) HOME=$(HOME)')

PACKAGES ?= ./...
COUNT ?= 1

.PHONY: help setup setup-demo setup-test build run demo test bench lint fmt openapi clean FORCE

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## install what running Cooper needs, and build it
	@$(SETUP) run
	@$(MAKE) build

setup-demo: ## setup, and what the demo needs: curl and a base image
	@$(SETUP) demo
	@$(MAKE) build

setup-test: ## setup-demo, and what the tests need: a browser, a Docker Engine, servers to test against, base images with compilers
	@$(SETUP) test
	@$(MAKE) build $(BIN)/buildctl

build: $(BIN)/cooper $(BIN)/buildkitd ## build bin/cooper and bin/buildkitd; RELEASE=1 leaves paths of this machine out

$(BIN)/cooper: FORCE
	$(BUILD) -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/cooper

$(BIN)/buildkitd $(BIN)/buildctl: $(BIN)/%: go.mod
	$(BUILD) -ldflags '-X github.com/moby/buildkit/version.Version=$(BUILDKIT)' -o $@ github.com/moby/buildkit/cmd/$*
	@touch $@

$(BIN)/swag: go.mod
	$(BUILD) -o $@ github.com/swaggo/swag/cmd/swag
	@touch $@

$(BIN)/golangci-lint: FORCE
	@$@ version 2>/dev/null | grep -qF 'version $(GOLANGCI) ' || \
	  GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI)

run: setup ## setup, then the service in the foreground; settings come from COOPER_* and .env
	$(AS_ROOT) $(BIN)/cooper serve

demo: setup-demo ## build a real image for two platforms and a component on a service of its own, and pull both back
	@deployments/demo.sh

test: setup-test ## setup-test, then every test
	go test -p 2 -timeout 20m -count $(COUNT) $(TEST_ROOT) $(PACKAGES)

bench: setup-test ## setup-test, then the measurements of docs/benchmarks.md
	@go build -o $(BIN)/benchmark ./internal/testbed/cmd/benchmark
	$(AS_ROOT) $(BIN)/benchmark -bin $(BIN) -out docs/benchmarks.md

lint: $(BIN)/golangci-lint $(BIN)/swag ## every linter, and whether openapi/ is what the annotations say
	$(BIN)/golangci-lint run --allow-serial-runners
	@deployments/setup/openapi.sh check

fmt: $(BIN)/golangci-lint ## format the code
	$(BIN)/golangci-lint fmt

openapi: $(BIN)/swag ## write openapi/ anew from the annotations in handlers/
	@deployments/setup/openapi.sh write

clean: ## remove what was built; data and the cache of base images stay
	rm -rf $(BIN)
