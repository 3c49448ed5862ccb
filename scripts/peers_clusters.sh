#!/bin/sh
# `shoal cluster`, scikit-learn, FAISS, hdbscan and SCS on the same points: answers first, then times and memory.
set -eu
here=$(dirname "$0")
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
[ -x .venv-clusters/bin/python ] || python3 -m venv .venv-clusters
# Wheels only: from source they would build compilers first.
.venv-clusters/bin/python -m pip install --quiet --only-binary :all: -r "$here/peers/requirements-clusters.txt"
mkdir -p "${OUT:-out}/peers-clusters"
.venv-clusters/bin/python "$here/peers/compare_clusters.py" "$target/release/shoal" "${OUT:-out}/peers-clusters" "$@"
