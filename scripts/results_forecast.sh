#!/bin/sh
# Trains a network on ETTh1 and ETTh2 and rewrites its table in docs/results.md; finished runs in out/results-forecast are kept.
set -eu
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
if [ ! -f "$ETT/ETTh1.csv" ] || [ ! -f "$ETT/ETTh2.csv" ]; then
    echo "ETTh1.csv and ETTh2.csv are not in $ETT: get them from the ETDataset repository and say ETT=folder (their licence keeps them out of the project)" >&2
    exit 2
fi
python3 "$(dirname "$0")/results_forecast.py" --table "$TABLE" --shoal "$target/release/shoal" --data "$ETT" --seeds "$SEEDS" --jobs "$JOBS"
