#!/bin/sh
# Prefill and decode of 130M-shape language models with made-up weights: shoal beside candle's own models, in one run on the same machine.
set -eu
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
here=$(dirname "$0")/peers
out=${OUT:-out}/peers-models
mkdir -p "$out"
[ -f "$out/short.txt" ] || python3 "$here/random_model.py" "$out"
${CARGO:-cargo} build --release --locked --manifest-path "$here/candle_models/Cargo.toml" --target-dir "$target/candle_models" >&2
# The likeliest token behind the last one, and tokens per second: `ours MODEL TOKENS MODE`.
ours() {
    rows=$("$target/release/shoal" kernels apply "$1" "$2" --mode "$3" 2>"$out/said")
    next=$(printf '%s\n' "$rows" | tail -n 1 | cut -d, -f4)
    speed=$(sed -n 's/.* \([0-9.]*\) tokens\/s$/\1/p' "$out/said")
}
for kind in 1 2; do
    model=$out/mamba$kind-130m
    for round in 1 2 3; do
        ours "$model" "$out/prompt.txt" scan
        token=$next prefill=$speed
        ours "$model" "$out/short.txt" step
        theirs=$("$target/candle_models/release/candle-models" "$model" "$out/prompt.txt" 64)
        case $theirs in
        "next $token "*) ;;
        *) echo "mamba$kind: shoal expects token $token behind the prompt, candle says $theirs" >&2; exit 1 ;;
        esac
        echo "mamba$kind round $round: shoal prefill $prefill decode $speed tokens/s; candle $(echo "$theirs" | cut -d' ' -f3-) tokens/s"
    done
done
