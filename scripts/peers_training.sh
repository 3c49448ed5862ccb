#!/bin/sh
# The same training steps and single operations here and in PyTorch: answers first, then times.
set -eu
here=$(dirname "$0")
cargo=${CARGO:-cargo}
if [ ! -f "$ETT/ETTh1.csv" ]; then
    echo "ETTh1.csv is not in $ETT: get it from the ETDataset repository and say ETT=folder (its licence keeps it out of the project)" >&2
    exit 2
fi
python=$(sh "$here/torch_python.sh")
ours=$($cargo bench --locked --bench training --no-run 2>&1 | sed -n 's/.*(\(.*training-[^)]*\)).*/\1/p')
"$python" "$here/peers/compare_training.py" "$ours" "$ETT/ETTh1.csv" "$@"
