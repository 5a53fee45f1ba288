# The two commands to begin with: make demo, make test.
#
#   demo   builds garita and lets it show itself on loopback, offline, in under a minute
#   test   everything CI runs; as root it installs the Debian packages it needs
#   fuzz   thirty minutes over all fuzz targets (FUZZ_TOTAL=2h for more)
#   fuzz-short  a few seconds for each
#   soak   200 kill -9 rounds, 1,000 sessions of 25 MB, 100 reloads of 100,000
#          entries under load, a million aborted sessions, the fuzzing: about
#          an hour
#   parity tables of Postfix: 200,000 look-ups compared with postmap, and messages with cleanup(8)
#   bench  Garita against its peers on this machine
#   deb    the Debian package
#   lint   formatting, vet and the rules of the house alone

GO         ?= go
FUZZ_EACH  ?= 5s
FUZZ_TOTAL ?= 30m
KILL_SOAK  ?= 200
REVISION   := $(shell git rev-parse --short=12 HEAD 2>/dev/null)

.PHONY: all demo build test deps lint fuzz fuzz-short soak parity bench deb clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.revision=$(REVISION)" -o garita ./cmd/gateway

demo: build
	./garita demo

deps:
	sh test/install-deps.sh

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) test -count=1 ./test/house

fuzz-short:
	$(GO) run ./test/fuzz -each $(FUZZ_EACH)

# The seeds and old findings of all fuzz targets run here as tests. Looking for
# new ones is chance, which must not stop a change that has nothing to do with
# it: that is fuzz, fuzz-short and soak. The gateway that the end-to-end tests
# start looks for data races too.
test: deps lint build
	GARITA_RACE=1 $(GO) test -race -count=1 -parallel 8 -timeout 15m ./...

fuzz:
	$(GO) run ./test/fuzz -total $(FUZZ_TOTAL)

soak: deps build
	GARITA_BIN=$(CURDIR)/garita GARITA_KILL_ROUNDS=$(KILL_SOAK) $(GO) test -count=1 -timeout 90m -v -run 'TestKill|TestHostDies' ./test/kill
	GARITA_BIN=$(CURDIR)/garita GARITA_SOAK=1 $(GO) test -count=1 -timeout 90m -v -run 'TestSoak|TestReloadUnderLoad' ./test/kill
	GARITA_BIN=$(CURDIR)/garita GARITA_SESSIONS=1000000 $(GO) test -count=1 -timeout 60m -v -run 'TestAborts' ./test/kill
	$(GO) run ./test/fuzz -total $(FUZZ_TOTAL)

# Look-ups, messages and deliveries compared with the installed Postfix, ten
# times as many as the tests do.
parity: deps
	PARITY_PAIRS=200000 $(GO) test -count=1 -timeout 30m -v ./test/parity

deb:
	sh packaging/build-deb.sh .

bench: build
	$(GO) run ./bench

clean:
	rm -f garita
	rm -rf bench/out
