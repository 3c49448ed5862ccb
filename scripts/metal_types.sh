#!/bin/sh
# Checks the types of the Metal executor and of its tests for macOS, on any system: nothing is linked, nothing runs. Only the kernels are
# checked, as a small crate of their own. Needs a Rust compiler that has the target aarch64-apple-darwin, or the source of its library;
# without one the check is skipped.
set -eu

OUT=${OUT:-out/metal-types}
TARGET=aarch64-apple-darwin
ROOT=$(pwd)

# CARGO and RUSTC if they are given, else those of the path, else those of the system. Sets BUILD, the flags that bring a library.
found=
try() {
    command -v "$1" >/dev/null && command -v "$2" >/dev/null || return 0
    if [ -d "$("$2" --print target-libdir --target "$TARGET" 2>/dev/null)" ]; then
        found=1 cargo=$1 rustc=$2 BUILD=
    elif [ -f "$("$2" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then
        found=1 cargo=$1 rustc=$2 BUILD=-Zbuild-std=std,panic_abort
    fi
}
for pair in "${CARGO:-cargo}:${RUSTC:-rustc}" "/usr/bin/cargo:/usr/bin/rustc"; do
    [ -n "$found" ] || try "${pair%%:*}" "${pair#*:}"
done
if [ -z "$found" ]; then
    echo "executor: skipped, no Rust compiler here has the target $TARGET or the library's source"
    exit 0
fi

mkdir -p "$OUT/src"
# Versions are those of the project.
{
    printf '[package]\nname = "metal-types"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n'
    printf '[features]\ncuda = []\nemulator = []\nmetal = []\n\n[dependencies]\n'
    grep -E '^(faer|proptest|rayon|serde|serde_json|thiserror) = ' Cargo.toml
    grep -E '^objc2[a-z-]* = ' Cargo.toml | sed 's/, optional = true//'
} >"$OUT/Cargo.toml"
cp Cargo.lock "$OUT"
# The emulator's functions are declared, and never linked.
printf '#![allow(dead_code)]\n#[path = "%s/src/kernels/mod.rs"]\npub mod kernels;\n' "$ROOT" >"$OUT/src/lib.rs"

for features in metal metal,emulator; do
    tests=
    case $features in *emulator) tests=--tests ;; esac
    # shellcheck disable=SC2086
    (cd "$OUT" && RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-D warnings" "$cargo" check --quiet $BUILD --target "$TARGET" \
        --features "$features" $tests)
done
echo "executor: types of the library and of the tests for $TARGET"
