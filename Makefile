# Development commands; CI calls only these. Needs Rust and a C compiler (peers also needs Python 3).
CARGO ?= cargo
OUT ?= out
DATA = testdata/classic
ETT ?= ../shared/data/ett-small
SEEDS ?= 1,2,3
JOBS ?= 2
TABLE ?= timemixer

.PHONY: help build demo test lint fmt bench peers peers-training peers-scans peers-tensors peers-clusters peers-models results-forecast cuda-check metal-check clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

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

peers-training: build ## us and PyTorch on the same training steps: losses first, then times (ETT = folder with ETTh1.csv)
	@CARGO="$(CARGO)" ETT="$(ETT)" sh scripts/peers_training.sh

peers-scans: build ## the scans of shoal kernels and the same in PyTorch: answers first, then times
	@CARGO="$(CARGO)" sh scripts/peers_scans.sh

peers-tensors: build ## decompositions, TensorLy, GenTen and scipy on the same tensors: answers first, then times and memory
	@CARGO="$(CARGO)" OUT="$(OUT)" sh scripts/peers_tensors.sh

peers-clusters: build ## clusterings, scikit-learn, FAISS, hdbscan and SCS on the same points: answers first, then times and memory
	@CARGO="$(CARGO)" OUT="$(OUT)" sh scripts/peers_clusters.sh

peers-models: build ## prefill and decode of 130M-shape language models, beside candle's own
	@CARGO="$(CARGO)" OUT="$(OUT)" sh scripts/peers_models.sh

results-forecast: build ## train TABLE=timemixer or karma on ETTh1 and ETTh2 for all horizons and seeds, and rewrite its table in docs/results.md
	@CARGO="$(CARGO)" ETT="$(ETT)" TABLE="$(TABLE)" SEEDS="$(SEEDS)" JOBS="$(JOBS)" sh scripts/results_forecast.sh

cuda-check: ## compile the CUDA kernels for Ampere and Hopper, no GPU needed
	@OUT="$(OUT)" sh scripts/cuda_check.sh

metal-check: ## types and address spaces of the Metal kernels, by a C++ compiler
	@OUT="$(OUT)" sh scripts/metal_check.sh

clean: ## remove out/ and the tools' Python environments
	rm -rf $(OUT) .venv .venv-torch .venv-tensors .venv-clusters .venv-cuda
