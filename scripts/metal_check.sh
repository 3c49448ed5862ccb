#!/bin/sh
# Checks the Metal form of the kernels for syntax, types and address spaces, as far as a C++ compiler can: against a stand-in for Metal's
# library, first without address spaces (any compiler), then with them (clang). Not a Metal compiler: attributes and limits are not seen.
# Needs g++ or clang++; for the second pass clang++ or `zig` from PyPI, which is installed once.
set -eu

DEVICE=${DEVICE:-src/kernels/device}
OUT=${OUT:-out}/metal
VENV=${VENV:-.venv-cuda}
CXX=${CXX:-c++}

rm -rf "$OUT"
mkdir -p "$OUT"
cp -R "$DEVICE/compat" "$DEVICE/args" "$DEVICE/shared" "$DEVICE/metal" "$OUT"
# The name of an attribute is the name of an address space, which is a macro here.
sed 's/\[\[threadgroup(0)\]\]//' "$DEVICE/compat/metal.h" >"$OUT/compat/metal.h"

FLAGS="-x c++ -std=c++14 -c -Wall -Wextra -Werror -Wno-attributes -Wno-unused-function -Wno-unused-parameter -Wno-unknown-pragmas"
for source in "$OUT"/metal/*.metal; do
    # shellcheck disable=SC2086
    "$CXX" $FLAGS -isystem "$OUT/metal/shim" -o "$OUT/check.o" "$source"
done
echo "types: $(ls "$OUT"/metal/*.metal | wc -l) files"

if command -v clang++ >/dev/null; then
    CLANG=clang++
else
    if [ ! -x "$VENV/bin/python" ]; then
        python3 -m venv "$VENV"
    fi
    if ! "$VENV/bin/python" -c 'import ziglang' 2>/dev/null; then
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check 'ziglang==0.17.1'
    fi
    CLANG="$VENV/bin/python -m ziglang c++"
fi
for source in "$OUT"/metal/*.metal; do
    # Arrays of threadgroup memory in a function are Metal's alone.
    case $source in */probes.metal) continue ;; esac
    # shellcheck disable=SC2086
    $CLANG $FLAGS -Wno-unknown-attributes -Wno-ignored-attributes -DSHOAL_SPACES -isystem "$OUT/metal/shim" -o "$OUT/check.o" "$source"
done
echo "address spaces: $(($(ls "$OUT"/metal/*.metal | wc -l) - 1)) files"
OUT="$OUT-types" sh "$(dirname "$0")/metal_types.sh"
