#!/bin/sh
# `shoal decompose-tensor` and TensorLy (and a rival for sparse tensors in scipy) on the same tensors: answers first, then times and memory.
set -eu
here=$(dirname "$0")
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
if [ ! -x .venv-tensors/bin/python ]; then
    python3 -m venv .venv-tensors
    .venv-tensors/bin/python -m pip install --quiet -r "$here/peers/requirements-tensors.txt"
fi
mkdir -p "${OUT:-out}/peers-tensors"
.venv-tensors/bin/python "$here/peers/compare_tensors.py" "$target/release/shoal" "${OUT:-out}/peers-tensors" "$@"
