# Behest. `make` prints what there is to make.

DATA     ?= ./data
HTTP     ?= 127.0.0.1:8080
COAP     ?= 127.0.0.1:5683
COAPS    ?=
FUZZTIME ?= 10s
N        ?= 200
SEED     ?= 0

VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
SOURCES  := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './tools/*' -not -path './data/*') go.mod go.sum

# Packages with goroutines of their own: there the race detector finds something.
RACY     := ./coap/... ./command/dispatch ./store/... ./httpapi ./webhook ./cmd/... ./firmware-sim/...

STATICCHECK := go tool -modfile=tools/go.mod staticcheck

.DEFAULT_GOAL := help
.SUFFIXES:

help: ## print this
	@echo 'Behest: commands for constrained devices. Start with: make run'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  Variables: DATA=$(DATA) HTTP=$(HTTP) COAP=$(COAP) COAPS=$(COAPS) FUZZTIME=$(FUZZTIME) N=$(N) SEED=$(SEED)'

run: build ## build and start the server in development mode, and say what to type
	@DATA='$(DATA)' HTTP='$(HTTP)' COAP='$(COAP)' COAPS='$(COAPS)' scripts/run

demo: build need-curl ## one command round, live, against a simulated device
	@scripts/demo

build: need-build bin/server bin/firmware-sim ## build the programs into bin/

bin/server: $(SOURCES)
	@mkdir -p bin
	go build -ldflags '-X main.release=$(VERSION)' -o $@ ./cmd/server

bin/firmware-sim: $(SOURCES)
	@mkdir -p bin
	go build -o $@ ./firmware-sim

test: need-test ## run all tests; installs what they need
	go test ./...

race: need-test ## run the tests of what is concurrent under the race detector
	go test -race -timeout 20m $(RACY)

fuzz: need-build ## run every fuzz target for FUZZTIME and print its executions
	@scripts/fuzz $(FUZZTIME)

crash: need-build ## kill the real server N times under load, and find everything that it had answered for
	go run ./bench/crash -kills $(N) -seed $(SEED)

crash-control: need-build ## the same against a server that answers before it commits: it must be found out
	go run ./bench/crash -kills 60 -seed $(SEED) -patch bench/crash/testdata/ack-before-commit.patch -expect-losses

attack: need-build ## floods, forged and replayed records, edits of the log, a search for secrets: counted, and held against bounds
	go run ./bench/attack
	go test ./store/sqlite -run 'EditOfTheLog|EditsOfOther' -count=1 -v -timeout 0 -edits 10000

machine: need-build ## N runs of random people, devices, clocks and crashes, each step held against a naive model
	go test ./command/dispatch -run Machine -count=1 -v -timeout 0 -rapid.checks=$(N) -rapid.seed=$(SEED)

bench: need-build ## measure, in rounds, and print: the message layer, DTLS, memory, rounds, latency, bytes on disk, fleets
	go run ./bench/run

lint: need-build ## gofmt, go vet, staticcheck
	@scripts/gofmt
	go vet ./...
	$(STATICCHECK) ./...

gen: need-build ## regenerate what is generated: the API's code, golden files, docs/lifecycle.md
	go generate ./...

verify: need-build ## fail if regenerating would change a file
	@scripts/verify

ci: ## what the CI runs: lint, verify, build, demo, fuzz a little, race, test
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory verify
	$(MAKE) --no-print-directory build
	$(MAKE) --no-print-directory demo
	$(MAKE) --no-print-directory fuzz FUZZTIME=3s
	$(MAKE) --no-print-directory race
	$(MAKE) --no-print-directory test

clean: ## remove what was built; DATA stays
	rm -rf bin

need-build:
	@scripts/need gcc=gcc

need-curl:
	@scripts/need curl=curl

need-test: need-build need-curl
	@scripts/need coap-client-notls=libcoap3-bin /usr/include/coap3/coap.h=libcoap3-dev strace=strace

.PHONY: help run demo build test race fuzz crash crash-control attack machine bench lint gen verify ci clean need-build need-curl need-test
