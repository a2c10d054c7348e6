# The front door. `make` lists what can be done; every target sets up what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
BIN := .venv/bin

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is needed: uv, virtual environment, native build, system libraries
	@scripts/setup

.PHONY: demo
demo: setup ## One real phone call, end to end, on this machine (KEEP=1 leaves the server running)
	@$(BIN)/trunkline demo $(if $(KEEP),--keep)

.PHONY: test
test: ## Every test, with real SIPp, baresip and Asterisk as peers (PEERS=0 leaves those out)
	@scripts/setup $(if $(filter 0,$(PEERS)),,--peers)
	@echo "==> Rust tests"
	@cargo test --workspace --locked --quiet
	@echo "==> Python tests"
	@$(PY) -m pytest -q -n 2 -m "not peers and not demo" tests
	@echo "==> the demo, and real peers"
	@$(PY) -m pytest -q -m "demo $(if $(filter 0,$(PEERS)),,or peers)" -p no:randomly tests

.PHONY: check
check: setup lint types contracts docs ## Everything CI checks besides the tests

.PHONY: lint
lint: setup ## ruff, clippy pedantic, rustfmt, codespell
	@echo "==> ruff"
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check .
	@echo "==> rustfmt, clippy"
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@echo "==> codespell"
	@$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md docs src crates tests scripts Makefile

.PHONY: types
types: setup ## mypy strict, and the native module's stub against the build
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> stubtest trunkline._native"
	@$(BIN)/stubtest trunkline._native --mypy-config-file pyproject.toml

.PHONY: contracts
contracts: setup ## Who may import whom
	@echo "==> import-linter"
	@$(BIN)/lint-imports --no-cache

.PHONY: docs
docs: setup ## Build the documentation into docs/_build, warnings are errors
	@echo "==> sphinx"
	@$(BIN)/sphinx-build -n -W --keep-going -q -b html docs docs/_build/html
	@echo "    docs/_build/html/index.html"

.PHONY: fix
fix: setup ## Format and repair what can be repaired by machine
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .
	@cargo fmt --all

.PHONY: build
build: ## Build the native media engine, showing everything
	@PATH="$$PWD/.tools/bin:$$PATH" VIRTUAL_ENV="$$PWD/.venv" $(BIN)/maturin develop --uv --release --locked

.PHONY: bench
bench: setup ## Benchmarks: calls bridged per core, latency, and the small ones (ARGS=… for benches/run)
	@benches/run $(ARGS)
	@echo "==> pieces of the 20 ms path"
	@cargo run --release --locked --quiet -p trunkline-bench-micro
	@for bench in sip_parse mapping ledger tools; do echo "==> $$bench"; $(PY) benches/$$bench.py || exit 1; done

.PHONY: fuzz
fuzz: setup ## Ten minutes of fuzzing on every parser (SECONDS_EACH=600)
	@scripts/fuzz

.PHONY: peers
peers: ## Install the real phones and PBX, and run only their tests
	@scripts/setup --peers
	@$(PY) -m pytest -q -m peers -p no:randomly tests/peers

.PHONY: clean
clean: ## Remove everything that was built or installed here
	@rm -rf .venv .tools .cache .demo target docs/_build src/trunkline/_native*.so
