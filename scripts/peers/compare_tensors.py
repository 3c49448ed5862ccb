"""shoal decompose-tensor, TensorLy, GenTen and scipy on the same tensors, on equal threads: answers first, then times and memory.

    python compare_tensors.py SHOAL FOLDER [THREADS]

CP: dense 300 x 300 x 300 with rank 16 and 60^4 with rank 10, ten sweeps from the same first factors (TensorLy's `parafac` with numpy); the
fits must agree to 1e-9; and GenTen's CP-ALS, compiled code, from the same factors. Tucker: HOOI of 200 x 200 x 200 with ranks 20, ten sweeps from each program's own HOSVD; relative errors must agree
to 1e-7. Sparse: ten million entries at power-law places, five sweeps of rank 16, against MTTKRPs by scipy's sparse products with the same
normal equations, and against GenTen with the fastest of its ways to do it (`perm`); fits must agree to 1e-9.

Times: the sweeps alone, by each program's own clock (ours are in trace.csv), best of three in turn, as a sweep has few calls and the
machine's noise only adds. Memory: the peak of the whole process less what it takes with a tensor of eight numbers, so without interpreter
and libraries.
"""

import csv
import json
import os
import struct
import subprocess
import sys
import time

import numpy as np

SHOAL, FOLDER = sys.argv[1], sys.argv[2]
THREADS = int(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].isdigit() else os.cpu_count()
ROUNDS = 3


def model_file(path, factors):
    """A CP model as shoal keeps it."""
    arrays = {"weights": np.ones(factors[0].shape[1]), **{f"factor_{n}": f for n, f in enumerate(factors)}}
    shape = [f.shape[0] for f in factors]
    modes = [{"name": f"mode_{n}"} for n in range(len(shape))]
    about = {"format": "shoal-decomposition-1", "kind": "cp", "shape": json.dumps(shape), "modes": json.dumps(modes)}
    header, at = {"__metadata__": about}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F64", "shape": list(a.shape), "data_offsets": [at, at + 8 * a.size]}
        at += 8 * a.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for a in arrays.values():
            f.write(np.ascontiguousarray(a, dtype="<f8").tobytes())


def run(command):
    """Standard output, and the peak of the process in MiB."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **limits()})
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit {child.returncode}")
    return out.decode(), usage.ru_maxrss / 1024


def limits():
    threads = {name: str(THREADS) for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]}
    # Kokkos, below GenTen, asks for a word on this.
    return {**threads, "OMP_PROC_BIND": "false"}


def ours(kind, path, options):
    folder = f"{FOLDER}/run"
    line = [SHOAL, "decompose-tensor", kind, path, *options, "--threads", str(THREADS), "--json", "-q", "--run-dir", folder, "--force"]
    out, peak = run(line)
    found = json.loads(out)
    with open(f"{folder}/trace.csv", newline="") as f:
        trace = [float(r["seconds"]) for r in csv.DictReader(f) if r["seconds"]]
    return {"answer": found["rel_error"], "seconds": trace[-1] if trace else found["seconds"], "peak": peak}


def theirs(kind, path, *more):
    out, peak = run([sys.executable, os.path.abspath(__file__), "--rival", kind, path, *more])
    return {**json.loads(out.strip().splitlines()[-1]), "peak": peak}


def start(shape, rank, seed):
    rng = np.random.default_rng(seed)
    return [rng.random((n, rank)) for n in shape]


def dense(path, shape, rank, seed):
    """A tensor of that rank, and noise."""
    if not os.path.exists(path):
        factors = start(shape, rank, seed)
        letters = "abcd"[: len(shape)]
        x = np.einsum(",".join(f"{m}r" for m in letters) + "->" + letters, *factors, optimize=True)
        x += np.random.default_rng(seed + 1).normal(0, 0.1, shape)
        np.save(path, x)
    return path


def sparse(path, shape, entries, seed):
    """Places by a power law in every mode, each once; values of a few components and noise."""
    if not os.path.exists(path):
        rng = np.random.default_rng(seed)
        places = [np.minimum((n * rng.random(entries * 5 // 4) ** 3).astype(np.int64), n - 1) for n in shape]
        flat = np.unique(np.ravel_multi_index(places, shape))
        flat = np.sort(rng.permutation(flat)[:entries])
        places = np.unravel_index(flat, shape)
        factors = start(shape, 4, seed + 1)
        values = sum(np.prod([f[p, r] for f, p in zip(factors, places)], axis=0) for r in range(4))
        values += rng.normal(0, 0.1, len(flat))
        np.savez(path + ".npz", **{f"p{n}": p.astype(np.int32) for n, p in enumerate(places)}, values=values)
        with open(path, "w") as f:
            for begin in range(0, len(flat), 1 << 18):
                rows = zip(*[(p[begin : begin + (1 << 18)] + 1).tolist() for p in places], values[begin : begin + (1 << 18)].tolist())
                f.write("".join(" ".join(map(repr, row)) + "\n" for row in rows))
    return path


def rival(kind, path, *more):
    if kind == "cp":
        import tensorly
        from tensorly.cp_tensor import CPTensor
        from tensorly.decomposition import parafac

        x, (rank, seed) = np.load(path), map(int, more)
        first = CPTensor((None, start(x.shape, rank, seed)))
        begin = time.perf_counter()
        model = parafac(x, rank, n_iter_max=10, init=first, tol=0)
        seconds = time.perf_counter() - begin
        error = np.linalg.norm(x - tensorly.cp_to_tensor(model)) / np.linalg.norm(x) if x.size < 3e7 else None
    elif kind == "tucker":
        import tensorly
        from tensorly.decomposition import tucker

        x, rank = np.load(path), int(more[0])
        begin = time.perf_counter()
        core, factors = tucker(x, [rank] * x.ndim, n_iter_max=10, init="svd", tol=0)
        seconds = time.perf_counter() - begin
        error = np.linalg.norm(x - tensorly.tucker_to_tensor((core, factors))) / np.linalg.norm(x)
    elif kind in ["genten-dense", "genten-sparse"]:
        import pygenten

        (rank, seed), sweeps = map(int, more), 10 if kind == "genten-dense" else 5
        if kind == "genten-dense":
            array = np.load(path)
            shape, x = array.shape, pygenten.Tensor(array, copy=False)
        else:
            data = np.load(path + ".npz")
            places = np.stack([data[f"p{n}"] for n in range(3)], axis=1)
            shape = tuple(int(n) + 1 for n in places.max(axis=0))
            x = pygenten.Sptensor(shape, places, data["values"])
        first = pygenten.Ktensor(np.ones(rank), start(shape, rank, seed))
        how = {} if kind == "genten-dense" else {"mttkrp_method": pygenten.MttkrpPerm}
        found = pygenten.cp_als(x, init=first, rank=rank, maxiters=sweeps, tol=0.0, printitn=0, **how)
        last = found[2].lastEntry()
        print(json.dumps({"answer": 1 - last.fit, "seconds": last.cum_time}), flush=True)
        # Its destructors run after its library has shut down, and abort.
        os._exit(0)
    else:
        import scipy.sparse

        data, (rank, seed) = np.load(path + ".npz"), map(int, more)
        places, values = [data[f"p{n}"] for n in range(3)], data["values"]
        shape = [int(p.max()) + 1 for p in places]
        factors = start(shape, rank, seed)
        count, begin = np.arange(len(values)), time.perf_counter()
        gather = [scipy.sparse.csr_matrix((values, (p, count)), (n, len(values))) for p, n in zip(places, shape)]
        for _ in range(5):
            for n in range(3):
                a, b = [m for m in range(3) if m != n]
                w = gather[n] @ (factors[a][places[a]] * factors[b][places[b]])
                g = (factors[a].T @ factors[a]) * (factors[b].T @ factors[b])
                factors[n] = np.linalg.solve(g, w.T).T
        seconds = time.perf_counter() - begin
        g = np.prod([f.T @ f for f in factors], axis=0)
        squares, inner = values @ values, np.sum(w * factors[2])
        error = np.sqrt(max(squares + g.sum() - 2 * inner, 0) / squares)
    print(json.dumps({"answer": error, "seconds": seconds}))


def idle():
    """Peaks of both programs with next to nothing to do."""
    path = f"{FOLDER}/tiny.npy"
    np.save(path, np.arange(8.0).reshape(2, 2, 2) + 1)
    us = ours("cp", path, ["--rank", "1", "--max-iter", "1"])["peak"]
    return us, {kind: theirs(kind, path, "1", "1")["peak"] for kind in ["cp", "tucker", "genten-dense"]}


def compare(name, ours_once, rivals, tolerance, size, idle_peaks):
    """`rivals`: what `theirs` takes, by the rival's name. All take turns."""
    us, them = idle_peaks
    mine, others = [], {rival: [] for rival in rivals}
    for _ in range(ROUNDS):
        mine.append(ours_once())
        for rival, what in rivals.items():
            others[rival].append(theirs(*what))
    seconds = min(r["seconds"] for r in mine)
    print(f"{name}: shoal {seconds:.3f} s, peak {max(r['peak'] for r in mine) - us:.0f} MiB for {size:.0f} MiB of data")
    for rival, rows in others.items():
        apart = abs(mine[0]["answer"] - rows[0]["answer"])
        if apart > tolerance:
            both = f"{mine[0]['answer']} and {rows[0]['answer']}"
            sys.exit(f"{name}: relative errors {both} of shoal and {rival} differ by {apart:.1e}, expected {tolerance:.0e} at most")
        other = min(r["seconds"] for r in rows)
        base = them["genten-dense" if rival == "GenTen" else "tucker" if rivals[rival][0] == "tucker" else "cp"]
        print(
            f"  {rival} {other:.3f} s ({other / seconds:.1f}x), peak {max(r['peak'] for r in rows) - base:.0f} MiB; "
            f"relative errors differ by {apart:.1e}",
            flush=True,
        )


def main():
    us, them = idle()
    for name, shape, rank, seed in [("CP 300^3, rank 16", (300,) * 3, 16, 1), ("CP 60^4, rank 10", (60,) * 4, 10, 2)]:
        path = dense(f"{FOLDER}/cp{len(shape)}.npy", shape, rank, seed)
        model_file(f"{FOLDER}/start{len(shape)}.safetensors", start(shape, rank, seed + 10))
        options = ["--rank", str(rank), "--init", f"{FOLDER}/start{len(shape)}.safetensors", "--max-iter", "10", "--tol", "0"]
        size = 8 * np.prod(shape) / 2**20
        compare(
            name,
            lambda: ours("cp", path, options),
            {"TensorLy": ("cp", path, str(rank), str(seed + 10)), "GenTen": ("genten-dense", path, str(rank), str(seed + 10))},
            1e-9,
            size,
            (us, them),
        )
    path = dense(f"{FOLDER}/tucker.npy", (200,) * 3, 20, 3)
    options = ["--ranks", "20,20,20", "--method", "hooi", "--max-iter", "10", "--tol", "0"]
    compare(
        "HOOI 200^3, ranks 20",
        lambda: ours("tucker", path, options),
        {"TensorLy": ("tucker", path, "20")},
        1e-7,
        8 * 200**3 / 2**20,
        (us, them),
    )
    shape = (100_000, 50_000, 20_000)
    path = sparse(f"{FOLDER}/sparse.tns", shape, 10_000_000, 4)
    data = np.load(path + ".npz")
    shape = [int(data[f"p{n}"].max()) + 1 for n in range(3)]
    model_file(f"{FOLDER}/sparse.safetensors", start(shape, 16, 14))
    options = ["--rank", "16", "--init", f"{FOLDER}/sparse.safetensors", "--max-iter", "5", "--tol", "0"]
    size = data["values"].size * 20 / 2**20
    compare(
        f"sparse CP, {data['values'].size} entries, rank 16",
        lambda: ours("cp", path, options),
        {"scipy": ("sparse", path, "16", "14"), "GenTen": ("genten-sparse", path, "16", "14")},
        1e-9,
        size,
        (us, them),
    )


if len(sys.argv) > 1 and sys.argv[1] == "--rival":
    rival(*sys.argv[2:])
else:
    main()
