# Development commands; CI calls only these. Needs Rust and a C compiler (peers also needs Python 3).
CARGO ?= cargo
OUT ?= out
DATA = testdata/classic

.PHONY: help build demo test lint fmt bench peers clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## the release binary
	$(CARGO) build --release --locked

demo: build ## forecast, backtest and evaluate bundled real series; pictures and a run directory under out/
	@CARGO="$(CARGO)" OUT="$(OUT)" DATA="$(DATA)" sh scripts/demo.sh

test: ## all tests, release mode
	$(CARGO) test --release --locked

lint: ## formatting, clippy and rustdoc, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps
	@CARGO="$(CARGO)" sh scripts/same-features.sh

fmt: ## format
	$(CARGO) fmt

bench: ## criterion benchmarks
	$(CARGO) bench --locked

peers: build ## us and statsforecast on the same series in one run: answers first, then times
	@CARGO="$(CARGO)" sh scripts/peers.sh

clean: ## remove out/ and the peers' Python environment
	rm -rf $(OUT) .venv
