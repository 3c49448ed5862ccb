#!/bin/sh
# Prints a Python that has PyTorch: $TORCH_PYTHON, or one that is set up in .venv-torch first.
set -eu
here=$(dirname "$0")
python=${TORCH_PYTHON:-.venv-torch/bin/python}
if [ ! -x "$python" ]; then
    python3 -m venv .venv-torch
    .venv-torch/bin/python -m pip install --quiet -r "$here/peers/requirements-training.txt" >&2
fi
echo "$python"
