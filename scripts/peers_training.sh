#!/bin/sh
# Sets up PyTorch in .venv-torch, then runs the same training steps in both programs.
set -eu
here=$(dirname "$0")
cargo=${CARGO:-cargo}
if [ ! -f "$ETT/ETTh1.csv" ]; then
    echo "ETTh1.csv is not in $ETT: get it from the ETDataset repository and say ETT=folder (its licence keeps it out of the project)" >&2
    exit 2
fi
python=${TORCH_PYTHON:-.venv-torch/bin/python}
if [ ! -x "$python" ]; then
    python3 -m venv .venv-torch
    .venv-torch/bin/python -m pip install --quiet -r "$here/peers/requirements-training.txt"
fi
ours=$($cargo bench --locked --bench training --no-run 2>&1 | sed -n 's/.*(\(.*training-[^)]*\)).*/\1/p')
"$python" "$here/peers/compare_training.py" "$ours" "$ETT/ETTh1.csv" "$@"
