# Everything a developer or a visitor calls. Each target installs what it needs.
SHELL := /bin/bash
GO    ?= go
BIN   := bin/cardea
# tools live in a module of their own, so that they never weigh on the server's
TOOL  := $(GO) tool -modfile=tools/go.mod
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: serve demo test check lint bench fuzz soak build generate fmt deps-test deps-js deps-soak deps-bench deps-generate conformance

## the main job: build and run the server in ./cardea-data
serve: build
	./$(BIN) serve $(ARGS)

## a server with a sample upstream, one credential of each kind, and commands to paste
demo: build
	./$(BIN) demo $(ARGS)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/cardea

## every test, on real databases, proxies and clients; installs those first
test: deps-test build
	@$(in_memory) $(GO) test -timeout 18m ./...

# Tests sync a lot, and what they prove needs no disk that spins: they work in a folder in memory, if there is one
# that has room and lets programs run (others may pass through it: PostgreSQL runs as a user of its own). The
# compiler's files stay where they are.
in_memory = export GOTMPDIR="$${GOTMPDIR:-$${TMPDIR:-/tmp}}"; \
	dir=$$(mktemp -d /dev/shm/cardea-test.XXXXXX 2>/dev/null) && trap 'rm -rf "$$dir"' EXIT \
	&& chmod 0711 "$$dir" && cp /bin/true "$$dir" && "$$dir/true" 2>/dev/null \
	&& [ "$$(df --output=avail -k "$$dir" | tail -n 1)" -gt 2000000 ] && export TMPDIR="$$dir";

## what a change must pass beside the tests: format, vet, staticcheck, imports, tidy modules
check:
	@out=$$($(TOOL) gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); [ -z "$$out" ] || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test -count=1 -run TestImportDirection .
	$(GO) mod tidy -diff
	@grep -q 'modernc.org/libc v1.77.1 ' go.mod || { echo "modernc.org/libc must stay at the version that modernc.org/sqlite pins (v1.77.1)"; exit 1; }

fmt:
	$(TOOL) gofumpt -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

## the long list of linters; builds golangci-lint, which takes minutes
lint: check
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

## one table of ratios against the bare thing, measured in one run
## (MQTT_ONLY=1 for its lines about MQTT alone, BENCH=TestScram for those about SCRAM)
bench: deps-bench build
	$(GO) test -tags bench -count=1 -timeout 60m -v -run '$(or $(BENCH),$(if $(MQTT_ONLY),TestMQTT,TestTable))' ./bench

## every fuzz target for FUZZTIME each
FUZZTIME ?= 30s
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

## long runs: 1,000 kill -9 cycles on each database, the race detector over everything
soak: deps-soak build
	CARDEA_CYCLES=$${CARDEA_CYCLES:-1000} $(GO) test -count=1 -timeout 12h -run 'TestKill' ./cmd/cardea
	CARDEA_SOAK=1 $(GO) test -race -count=1 -timeout 2h ./...

## Eclipse's own conformance programs, from a copy of eclipse/paho.mqtt.testing: make conformance CONFORMANCE_DIR=…
conformance: build
	@[ -n "$(CONFORMANCE_DIR)" ] || { echo "CONFORMANCE_DIR must be the folder of a copy of eclipse/paho.mqtt.testing"; exit 1; }
	$(call install,python3=python3)
	CONFORMANCE_DIR="$(abspath $(CONFORMANCE_DIR))" $(GO) test -count=1 -timeout 10m -run TestEclipseSuites -v ./cmd/cardea

## protobuf code again, from proto/
generate: deps-generate
	PATH="$(PLUGINS):$$PATH" $(GO) generate ./proto

# Debian packages, installed only where a command is missing. They are named on stdout.
define install
@missing=""; \
for pair in $(1); do cmd=$${pair%%=*}; pkg=$${pair##*=}; \
  command -v $$cmd >/dev/null 2>&1 || [ -x /usr/sbin/$$cmd ] || compgen -G "/usr/lib/postgresql/*/bin/$$cmd" >/dev/null || missing="$$missing $$pkg"; \
done; \
if [ -n "$$missing" ]; then echo "installing Debian packages:$$missing"; \
  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

deps-test: deps-js
	$(call install,python3=python3 curl=curl openssl=openssl nginx=nginx-light initdb=postgresql psql=postgresql-client git=git mosquitto=mosquitto mosquitto_pub=mosquitto-clients)

# clients in JavaScript that tests drive; kept apart from everything that is ours
JS := mqtt@5.16.0 openid-client@6.9.0 oauth4webapi@3.8.8 jose@6.2.18
deps-js:
	$(call install,node=nodejs npm=npm)
	@for one in $(JS); do grep -qs "\"version\": \"$${one#*@}\"" "bin/js/node_modules/$${one%@*}/package.json" || missing=1; done; \
	if [ -n "$$missing" ]; then echo "installing the npm packages $(JS) in bin/js"; \
	  mkdir -p bin/js && npm install --prefix bin/js --no-save --no-package-lock --no-audit --no-fund --omit=dev --silent $(JS) >/dev/null; fi

deps-soak: deps-test
	$(call install,epmd=erlang-base rabbitmqctl=rabbitmq-server)

deps-bench: deps-test
	$(call install,wrk=wrk)

PLUGINS := $(CURDIR)/bin/plugins

# the plugins of protoc, at the versions that proto/generate.go names
deps-generate:
	$(call install,protoc=protobuf-compiler)
	@set -e; for plugin in $$(sed -n 's|^//.*go install ||p' proto/generate.go); do \
	  echo "installing $$plugin"; GOBIN="$(PLUGINS)" $(GO) install $$plugin; done
