# make run            build, and follow a built-in sample primary in ./data
# make run PRIMARY=h  the same, following the stock master on host h
# make test           everything that needs only Go;  make e2e: with the real MooseFS
DATA    ?= ./data
PRIMARY ?=
PREFIX  ?= /usr/local
FUZZTIME ?= 20s
MOOSEFS = moosefs-master moosefs-metalogger moosefs-chunkserver moosefs-client moosefs-cli moosefs-cgi moosefs-cgiserv iproute2 iptables faketime
ADDRESS = keepalived ucarp iputils-ping
BROWSER = chromium chromium-driver fonts-dejavu-core

.PHONY: build run test e2e bench fuzz lint install clean

build:
	go build -o bin/mfsstandby ./cmd/mfsstandby

run: build
	bin/mfsstandby run --data $(DATA) $(if $(PRIMARY),--primary $(PRIMARY))

test:
	go test -race ./...

e2e:
	@for p in mfsmaster mfschunkserver mfsmetalogger mfsmount mfsmetadump mfscgiserv ip iptables faketime keepalived ucarp ping chromium chromedriver; do command -v $$p >/dev/null || missing=1; done; test -z "$$missing" || { apt-get update && apt-get install -y --no-install-recommends $(MOOSEFS) $(ADDRESS) $(BROWSER); }
	@files=$$(grep -rl --include='*_test.go' '^//go:build e2e' .); set -x; go test -tags e2e -timeout 60m -count 1 \
		-run "^($$(grep -ho '^func Test[A-Za-z0-9_]*' $$files | cut -c6- | sort -u | paste -sd '|'))$$" $$(dirname $$files | sort -u)

bench: build
	go test -run '^$$' -bench . -benchtime 1s ./changelog/... ./replicator/... ./standby/...
	bin/mfsstandby bench replay --entries 500000 --rounds 3 $$(command -v mfsmaster >/dev/null && echo --against mfsmaster)
	bin/mfsstandby bench lag --rate 5000 --seconds 10

fuzz:
	@set -e; for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | cut -c6-); do echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$pkg; done; done

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	go vet ./... && go vet -tags e2e ./... && go tool staticcheck -tags e2e ./... && go mod tidy -diff

install: build
	install -D bin/mfsstandby $(DESTDIR)$(PREFIX)/sbin/mfsstandby
	install -D -m 644 cmd/mfsstandby/etc/mfsstandby.cfg $(DESTDIR)/etc/mfs/mfsstandby.cfg.sample
	install -D -m 644 cmd/mfsstandby/etc/mfsstandby.service $(DESTDIR)/lib/systemd/system/mfsstandby.service
	install -d $(DESTDIR)$(PREFIX)/lib/mfsstandby $(DESTDIR)$(PREFIX)/share/mfsstandby
	install cmd/mfsstandby/etc/address/scripts/* -t $(DESTDIR)$(PREFIX)/lib/mfsstandby
	install -m 644 cmd/mfsstandby/etc/address/*.sample -t $(DESTDIR)$(PREFIX)/share/mfsstandby

clean:
	rm -rf bin
