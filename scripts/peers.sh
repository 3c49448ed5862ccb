#!/bin/sh
# Sets up the rival's Python environment in .venv, then runs both programs on the same series.
set -eu
here=$(dirname "$0")
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
if [ ! -x .venv/bin/python ]; then
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet -r "$here/peers/requirements.txt"
fi
mkdir -p out/peers
.venv/bin/python "$here/peers/make_series.py" out/peers/monthly.csv
.venv/bin/python "$here/peers/compare.py" "$target/release/shoal" out/peers/monthly.csv "$@"
