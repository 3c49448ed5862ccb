#!/bin/sh
# Compiles every CUDA kernel to PTX and to machine code for Ampere and Hopper, warnings as errors, and prints what each entry takes.
# Fails when one does not compile or spills registers to memory. Needs Python 3 with venv, g++, and network the first time; no GPU.
set -eu

DEVICE=${DEVICE:-src/kernels/device}
VENV=${VENV:-.venv-cuda}
OUT=${OUT:-out}/cuda
ARCHS=${ARCHS:-80 90}

if [ ! -x "$VENV/bin/python" ]; then
    python3 -m venv "$VENV"
fi
# pip does nothing when these are there.
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
CUDA_HOME=$(cd "$VENV"/lib/python3*/site-packages/nvidia/cu13 && pwd)
export CUDA_HOME
NVCC=$CUDA_HOME/bin/nvcc

mkdir -p "$OUT"
LOG=$OUT/log
: >"$LOG"
STRICT="-std=c++17 -O3 -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror -I$CUDA_HOME/include"
for source in "$DEVICE"/cuda/*.cu; do
    name=$(basename "$source" .cu)
    for arch in $ARCHS; do
        # shellcheck disable=SC2086
        "$NVCC" $STRICT -ptx -arch="compute_$arch" -o "$OUT/$name.$arch.ptx" "$source"
        # shellcheck disable=SC2086
        "$NVCC" $STRICT -Xptxas -v,-warn-spills -cubin -arch="sm_$arch" -o "$OUT/$name.$arch.cubin" "$source" 2>"$OUT/$name.$arch.txt" || {
            cat "$OUT/$name.$arch.txt" >&2
            exit 1
        }
        sed "s/^/$arch /" "$OUT/$name.$arch.txt" >>"$LOG"
    done
done

# One line for each entry and architecture. Shared memory is what the kernel declares; the arena comes with the launch.
awk '
    # The number before `what`.
    function number(what,   words, count) {
        if (!index($0, what)) return 0
        count = split(substr($0, 1, index($0, what) - 1), words, " ")
        return words[count]
    }
    /Compiling entry function/ { match($0, /\047[^\047]*\047/); entry = substr($0, RSTART + 1, RLENGTH - 2) }
    /bytes stack frame/ { stack = number(" bytes stack frame") }
    /bytes spill stores/ { stores = number(" bytes spill stores"); loads = number(" bytes spill loads") }
    /Used [0-9]+ registers/ {
        printf "%-36s %3s %9d %7d %6d %7d\n", entry, $1, number(" registers"), number(" bytes smem"), stack, stores + loads
        if (stores + loads > 0) spilled = 1
        count++
    }
    END {
        if (count == 0) { print "no kernel was compiled" > "/dev/stderr"; exit 1 }
        if (spilled) { print "kernels spill registers" > "/dev/stderr"; exit 1 }
    }
' "$LOG" >"$OUT/table"
printf '%-36s %3s %9s %7s %6s %7s\n' entry sm registers shared stack spilled
sort "$OUT/table"
