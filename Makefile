# The four things a contributor runs: `make build`, `make test`, `make lint`, `make bench`. The rest are their parts.
# Nothing here is skipped in silence: a missing tool is named, with the way to get it, and the target fails.

RUST_VERSION := 1.95
DENY_VERSION := 0.20.2
TOOLS        := $(CURDIR)/target/tools

# What the tests on AWS talk to: an emulator in a virtual environment of this checkout.
PYTHON       := python3
VENV         := target/venv
REQUIREMENTS := crates/wordfreq-aws/tests/requirements.txt crates/wordfreq/tests/requirements.txt

# What holds the API against its description, in one of its own.
API_VENV         := target/venv-api
API_REQUIREMENTS := crates/wordfreq/tests/api-requirements.txt

# Everything a test may reach: AWS, the named places to kill a process at, and the suites every adapter must pass.
FEATURES := --features wordfreq/aws,wordfreq/failpoints,wordfreq-pipeline/conformance
# The page is tested in a real browser, driven from Node by modules installed into target.
CHROMIUM      := /usr/bin/chromium
BROWSER       := target/browser
BROWSER_TESTS := crates/wordfreq/tests/browser
IN_BROWSER    := WORDFREQ_BINARY=target/debug/wordfreq WORDFREQ_BROWSER_MODULES=$(BROWSER) CHROMIUM=$(CHROMIUM)

# On a build server the lock file is the truth; at a desk it may follow an edited manifest.
LOCKED   := $(if $(CI),--locked)
ALL      := $(LOCKED) --workspace $(FEATURES)

export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: moto api-tools build test browser screenshots chromium lint bench style dependencies toolchain cargo-deny

build: toolchain
	cargo build $(LOCKED) --release

# Warnings are denied by the linter alone: the same compiler flags everywhere mean one set of build products.
test: toolchain moto api-tools
	$(call tested,$(ALL) --all-targets)
	cargo test $(ALL) --doc --no-fail-fast
	$(MAKE) browser
	@echo 'The program as it is built by default, without AWS:'
	$(call tested,$(LOCKED) -p wordfreq --test it)

define tested
@if cargo nextest --version >/dev/null 2>&1; then \
    set -x; cargo nextest run $(1) --no-fail-fast; \
else \
    echo 'cargo-nextest is not installed (cargo install cargo-nextest --locked): running the same tests with cargo test'; \
    set -x; cargo test $(1) --no-fail-fast; \
fi
endef

# The page, in Chromium, against a real `wordfreq up`. A file of tests takes two minutes or three; one that waits for what
# never comes must fail, as the others do (.config/nextest.toml).
browser: toolchain chromium $(BROWSER)/installed
	cargo build $(ALL)
	$(IN_BROWSER) node --test --test-concurrency=2 --test-timeout=900000 $(BROWSER_TESTS)/*.test.js

# Not a test: takes docs/screenshots anew, to be looked at before they are committed.
screenshots: toolchain chromium $(BROWSER)/installed
	cargo build $(ALL)
	$(IN_BROWSER) node $(BROWSER_TESTS)/screenshots.js

chromium:
	@test -x $(CHROMIUM) || { \
	    echo 'the tests of the page need Chromium, and there is no $(CHROMIUM): apt-get install chromium, or name another with CHROMIUM=' >&2; exit 1; }

$(BROWSER)/installed: $(BROWSER_TESTS)/package.json $(BROWSER_TESTS)/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null || { \
	    echo 'the tests of the page need Node.js 20.19 or newer with npm: install nodejs and npm' >&2; exit 1; }
	mkdir -p $(BROWSER)
	cp $^ $(BROWSER)
	npm ci --prefix $(BROWSER) --ignore-scripts --no-audit --no-fund
	@touch $@

moto: $(VENV)/installed

$(VENV)/installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	    echo 'the tests on AWS need Python 3.10 or newer with venv, for the emulator moto: install python3 and python3-venv, or name another with PYTHON=' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(REQUIREMENTS:%=-r %)
	@touch $@

api-tools: $(API_VENV)/installed

$(API_VENV)/installed: $(API_REQUIREMENTS)
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	    echo 'the tests of the API need Python 3.10 or newer with venv, for schemathesis: install python3 and python3-venv, or name another with PYTHON=' >&2; exit 1; }
	$(PYTHON) -m venv $(API_VENV)
	$(API_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

lint: style dependencies

style: toolchain
	cargo fmt --all --check
	cargo clippy $(ALL) --all-targets -- -D warnings
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(ALL) --no-deps

dependencies: toolchain cargo-deny
	cargo-deny --locked --workspace check --hide-inclusion-graph licenses bans sources

bench: toolchain
	@test -x bench/run || { echo 'bench/run is not there: the benchmarks are missing from this checkout' >&2; exit 1; }
	bench/run

toolchain:
	@command -v cargo >/dev/null && command -v rustc >/dev/null || { \
	    echo 'no Rust toolchain: cargo and rustc are not on PATH; install Rust $(RUST_VERSION) or newer with rustup (https://rustup.rs)' >&2; exit 1; }
	@found=$$(rustc --version | cut -d' ' -f2); \
	 test "$$(printf '%s\n' $(RUST_VERSION) "$$found" | sort -V | head -n 1)" = $(RUST_VERSION) || { \
	    echo "Rust $$found is too old: this workspace needs $(RUST_VERSION) or newer; run rustup update stable" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || { \
	    echo 'no C compiler: SQLite is compiled from source, and $(firstword $(CC)) is not on PATH; install gcc or clang, or set CC' >&2; exit 1; }

cargo-deny:
	@found=$$(cargo-deny --version 2>/dev/null || true); \
	 if [ "$$found" != 'cargo-deny $(DENY_VERSION)' ]; then \
	    echo "cargo-deny $(DENY_VERSION) is needed, found: $${found:-none}; installing it into target/tools (about three minutes)"; \
	    set -x; cargo install cargo-deny --locked --version $(DENY_VERSION) --root '$(TOOLS)'; \
	 fi
