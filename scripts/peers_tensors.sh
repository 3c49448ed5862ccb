#!/bin/sh
# `shoal decompose-tensor`, TensorLy, GenTen (and a rival for sparse tensors in scipy) on the same tensors: answers first, then times and memory.
set -eu
here=$(dirname "$0")
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
[ -x .venv-tensors/bin/python ] || python3 -m venv .venv-tensors
# pygenten is taken as a wheel: from source it would build cmake first.
.venv-tensors/bin/python -m pip install --quiet --only-binary pygenten -r "$here/peers/requirements-tensors.txt"
mkdir -p "${OUT:-out}/peers-tensors"
.venv-tensors/bin/python "$here/peers/compare_tensors.py" "$target/release/shoal" "${OUT:-out}/peers-tensors" "$@"
