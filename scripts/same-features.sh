#!/bin/sh
# Fails when the test crates switch on a feature of a shared dependency that the program alone does not: then `cargo build` and
# `cargo test` would each build polars.
set -eu
CARGO=${CARGO:-cargo}
list() { $CARGO tree --locked -e "$1",no-proc-macro --prefix none -f '{p} {f}' | sed 's/ (\*)//' | sort -u; }
program=$(mktemp) && tests=$(mktemp)
trap 'rm -f "$program" "$tests"' EXIT
list normal >"$program"
list normal,dev >"$tests"
differ=$(comm -23 "$program" "$tests")
if [ -n "$differ" ]; then
    printf 'these have other features in tests (switch them on in Cargo.toml under "Not used directly"):\n%s\n' "$differ" >&2
    exit 1
fi
