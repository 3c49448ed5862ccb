#!/bin/sh
# The scans of `shoal kernels` and the same in PyTorch: answers first, then times.
set -eu
here=$(dirname "$0")
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
python=$(sh "$here/torch_python.sh")
"$python" "$here/peers/compare_scans.py" "$target/release/shoal" "$@"
