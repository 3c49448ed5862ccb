"""shoal cluster, scikit-learn, FAISS, hdbscan and SCS on the same points, on equal threads: answers first, then times and memory.

    python compare_clusters.py SHOAL FOLDER [THREADS] [CASE ...]

kmeans: 1,000,000 x 32 standard normal numbers, k = 100, ten iterations from the means of given labels; inertias must agree to 1e-9 (FAISS
computes in f32: 1e-5). gmm: 100,000 x 16, ten full components, twenty steps of EM from given labels; log-likelihoods to 1e-9 of their size.
hdbscan: 100,000 x 4, twenty Gaussian groups and 10 % of noise, min_cluster_size 50; adjusted Rand indices to the groups must agree to 1e-3
(programs order equal distances differently; the hdbscan package makes its tree exact). silhouette: 20,000 x 16, ten groups; to 1e-9.
sdp: iris, k = 3: every solver's multipliers give a lower bound by one formula, and SCS counts at the loosest setting whose bound is at least
as near the optimum as ours.

Times: the method alone, by each program's own clock, best of three in turn (scikit-learn's HDBSCAN once, as it takes a minute). Memory: the
peak of the whole process less what it takes with a hundred points, so without interpreter and libraries.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

NAMES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]
OPTIMUM = 75.537106  # of the programme for iris and k = 3, at a tolerance of 1e-9


def write_points(path, x, start=None):
    """A table that shoal reads, an array for the others, and labels to start from."""
    np.save(path + ".npy", x)
    header = ",".join(f"x{j}" for j in range(x.shape[1]))
    with open(path + ".csv", "w") as f:
        f.write(header + "\n")
        for begin in range(0, len(x), 1 << 16):
            f.write("".join(",".join(map(repr, row)) + "\n" for row in x[begin : begin + (1 << 16)].tolist()))
    if start is not None:
        np.save(path + ".start.npy", start)
        with open(path + ".start.csv", "w") as f:
            f.write("id,label\n" + "".join(f"{i + 1},{label}\n" for i, label in enumerate(start.tolist())))


def nearest_of_first(x, k):
    labels = np.empty(len(x), dtype=np.int32)
    for begin in range(0, len(x), 1 << 16):
        part = x[begin : begin + (1 << 16)]
        labels[begin : begin + len(part)] = ((x[:k] ** 2).sum(1) - 2 * part @ x[:k].T).argmin(1)
    return labels


def make(case, path, n):
    """Run in a process of its own: what this one holds would count as the peak of its children."""
    rng = np.random.default_rng(1)
    if case == "kmeans":
        x = rng.standard_normal((n, 32))
        write_points(path, x, nearest_of_first(x, 100 if n > 1000 else 10))
    elif case == "gmm":
        centres, shapes = 4 * rng.standard_normal((10, 16)), rng.standard_normal((10, 16, 16)) / 4
        truth = rng.integers(10, size=n)
        x = centres[truth] + np.einsum("nij,nj->ni", shapes[truth], rng.standard_normal((n, 16)))
        start = np.where(rng.random(n) < 0.2, rng.integers(10, size=n), truth)
        start[:10] = np.arange(10)
        write_points(path, x, start)
    elif case == "hdbscan":
        grouped = n * 9 // 10
        centres = rng.uniform(-10, 10, (20, 4))
        truth = np.concatenate([np.arange(grouped) % 20, np.full(n - grouped, -1)])
        x = np.vstack([centres[truth[:grouped]] + rng.normal(0, 0.5, (grouped, 4)), rng.uniform(-12, 12, (n - grouped, 4))])
        order = rng.permutation(n)
        write_points(path, x[order], truth[order])
    else:
        truth = np.arange(n) % 10
        x = rng.normal(size=(n, 16))
        x[np.arange(n), truth] += 4
        write_points(path, x, truth)


def run(command):
    """The JSON of the last line, and the peak of the process in MiB."""
    threads = {name: str(THREADS) for name in NAMES}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **threads})
    out = child.stdout.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit {child.returncode}")
    return json.loads(out if out.startswith("{\n") else out.strip().splitlines()[-1]), usage.ru_maxrss / 1024


def ours(case, path, few):
    line = {
        "kmeans": f"points {path}.csv -m kmeans --algo lloyd -k {10 if few else 100} --init {path}.start.csv --max-iter 10 --tol 0 --silhouette none",
        "gmm": f"points {path}.csv -m gmm -k 10 --init {path}.start.csv --max-iter 20 --tol 0 --silhouette none",
        "hdbscan": f"points {path}.csv -m hdbscan --min-cluster-size {5 if few else 50} --silhouette none",
        "silhouette": f"score {path}.csv --pred {path}.start.csv",
    }[case]
    found, peak = run([SHOAL, "cluster", *line.split(), "--json", "-q", "--threads", str(THREADS)])
    if case == "hdbscan":
        answer = agreement(np.load(path + ".start.npy"), np.array(found["labels"]))
    else:
        answer = found["silhouette" if case == "silhouette" else "objective"]
    return {"answer": answer, "seconds": found["silhouette_seconds" if case == "silhouette" else "seconds"], "peak": peak}


def theirs(kind, path, few):
    found, peak = run([sys.executable, os.path.abspath(__file__), "--rival", kind, path, str(int(few)), str(THREADS)])
    return {**found, "peak": peak}


def agreement(a, b):
    """Adjusted Rand index; noise is a group."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    pairs = lambda n: (n * (n - 1) / 2).sum()
    index, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / pairs(np.array([float(len(a))]))
    return (index - expected) / ((rows + columns) / 2 - expected)


def rival(kind, path, few, threads):
    import warnings

    from threadpoolctl import threadpool_limits

    warnings.filterwarnings("ignore")
    x, start = np.load(path + ".npy"), np.load(path + ".start.npy")
    if kind in ["scikit-learn k-means", "FAISS"]:
        k = start.max() + 1
        means = np.stack([x[start == c].mean(0) for c in range(k)])
    if kind == "scikit-learn k-means":
        from sklearn.cluster import KMeans

        model = KMeans(k, init=means, n_init=1, max_iter=10, tol=0, algorithm="lloyd")
        with threadpool_limits(threads):
            begin = time.perf_counter()
            model.fit(x)
            seconds = time.perf_counter() - begin
        answer = float(model.inertia_)
    elif kind == "FAISS":
        import faiss

        faiss.omp_set_num_threads(threads)
        model = faiss.Kmeans(x.shape[1], k, niter=10, max_points_per_centroid=len(x), min_points_per_centroid=1, nredo=1)
        single = x.astype(np.float32)
        begin = time.perf_counter()
        model.train(single, init_centroids=means.astype(np.float32))
        seconds = time.perf_counter() - begin
        # What it reports is the inertia before its last update.
        answer, c = 0.0, model.centroids.astype(np.float64)
        for part in np.array_split(x, 100):
            answer += float(((part**2).sum(1)[:, None] + (c**2).sum(1) - 2 * part @ c.T).min(1).sum())
    elif kind == "scikit-learn mixture":
        from sklearn.mixture import GaussianMixture

        class FromLabels(GaussianMixture):
            """The start that scikit-learn makes of k-means labels, made of given ones."""

            def _initialize_parameters(self, X, random_state, xp=None):
                resp = np.zeros((len(X), self.n_components))
                resp[np.arange(len(X)), start] = 1
                self._initialize(X, resp)

        model = FromLabels(10, tol=0, max_iter=20)
        begin = time.perf_counter()
        model.fit(x)
        seconds = time.perf_counter() - begin
        answer = model.score(x) * len(x)
    elif kind in ["hdbscan", "scikit-learn HDBSCAN"]:
        size = 5 if few else 50
        if kind == "hdbscan":
            import hdbscan

            # Its min_samples does not count the point itself.
            model = hdbscan.HDBSCAN(min_cluster_size=size, min_samples=size - 1, core_dist_n_jobs=threads, approx_min_span_tree=False)
        else:
            from sklearn.cluster import HDBSCAN

            model = HDBSCAN(min_cluster_size=size, n_jobs=threads, copy=True)
        begin = time.perf_counter()
        found = model.fit_predict(x)
        seconds = time.perf_counter() - begin
        answer = agreement(start, found)
    else:
        from sklearn.metrics import silhouette_score

        begin = time.perf_counter()
        answer = float(silhouette_score(x, start))
        seconds = time.perf_counter() - begin
    print(json.dumps({"answer": answer, "seconds": seconds}))


CASES = {
    "kmeans": (1_000_000, {"scikit-learn k-means": 1e-9, "FAISS": 1e-5}),
    "gmm": (100_000, {"scikit-learn mixture": 1e-9}),
    "hdbscan": (100_000, {"hdbscan": 1e-3, "scikit-learn HDBSCAN": 1e-3}),
    "silhouette": (20_000, {"scikit-learn silhouette": 1e-9}),
}


def compare(case):
    n, rivals = CASES[case]
    for size in [200, n]:
        if not os.path.exists(f"{FOLDER}/{case}{size}.start.csv"):
            subprocess.run([sys.executable, os.path.abspath(__file__), "--make", case, f"{FOLDER}/{case}{size}", str(size)], check=True)
    few, path = f"{FOLDER}/{case}200", f"{FOLDER}/{case}{n}"
    base, mine = ours(case, few, True)["peak"], []
    others = {name: [] for name in rivals}
    bases = {name: theirs(name, few, True)["peak"] for name in rivals}
    for turn in range(3):
        mine.append(ours(case, path, False))
        for name in rivals:
            if turn == 0 or name != "scikit-learn HDBSCAN":
                others[name].append(theirs(name, path, False))
    seconds = min(r["seconds"] for r in mine)
    print(f"{case}: shoal {seconds:.3f} s, peak {max(r['peak'] for r in mine) - base:.0f} MiB, answer {mine[0]['answer']:.9g}")
    for name, rows in others.items():
        apart = abs(mine[0]["answer"] - rows[0]["answer"]) / max(1, abs(rows[0]["answer"]))
        if not apart <= rivals[name]:
            sys.exit(f"{case}: {mine[0]['answer']} of shoal and {rows[0]['answer']} of {name} are {apart:.1e} apart, expected {rivals[name]:.0e}")
        other = min(r["seconds"] for r in rows)
        peak = max(r["peak"] for r in rows) - bases[name]
        print(f"  {name} {other:.3f} s ({other / seconds:.1f}x), peak {peak:.0f} MiB; answers within {apart:.1e}", flush=True)


def half_distances(x):
    g = (x * x).sum(1)
    d = np.maximum(0.5 * (g[:, None] + g[None]) - x @ x.T, 0)
    np.fill_diagonal(d, 0)
    return d


def certified(d, multiplier, k):
    """A lower bound from any N >= 0: sum of 1'G1/n and the k-1 smallest eigenvalues of G = D - N on the complement of 1."""
    n = len(d)
    g = d - np.maximum(0.5 * (multiplier + multiplier.T), 0)
    away = np.linalg.norm(g) / n
    p = g - g.mean(0)[None] - g.mean(1)[:, None] + g.mean() + away
    return g.sum() / n + np.linalg.eigvalsh(p)[: k - 1].sum()


def scs_once(x, k, eps):
    import scipy.sparse as sp
    import scs

    d = half_distances(x)
    n, scale = len(d), np.linalg.norm(d)
    i, j = np.triu_indices(n)
    m, entry, off = len(i), np.arange(len(i)), i != j
    weight = np.where(off, np.sqrt(2.0), 1.0)
    rows = np.concatenate([i, j[off], np.full(n, n)])
    columns = np.concatenate([entry, entry[off], entry[~off]])
    values = np.concatenate([1 / weight, 1 / weight[off], np.ones(n)])
    a = sp.vstack([sp.csc_matrix((values, (rows, columns)), (n + 1, m)), -sp.eye(m), -sp.eye(m)], format="csc")
    b = np.concatenate([np.ones(n), [k], np.zeros(2 * m)])
    c = d[i, j] / scale * weight
    begin = time.perf_counter()
    solver = scs.SCS(
        {"A": a, "b": b, "c": c}, {"z": n + 1, "l": m, "s": [n]}, verbose=False, eps_abs=eps, eps_rel=eps, max_iters=1_000_000, time_limit_secs=300
    )
    found = solver.solve()
    seconds = time.perf_counter() - begin
    y = np.zeros((n, n))
    y[i, j] = y[j, i] = found["y"][n + 1 : n + 1 + m] / weight
    return scale * certified(d / scale, y, k), seconds


def sdp(table):
    x = np.loadtxt(table, delimiter=",", skiprows=1)[:, :4]
    line = [SHOAL, "cluster", "points", table, "-m", "sdp", "--solver", "admm", "-k", "3", "--silhouette", "none", "--json", "-q"]
    mine = [run([*line, "--threads", str(THREADS)])[0] for _ in range(3)]
    seconds, bound = min(r["seconds"] for r in mine), mine[0]["bound"]
    print(f"sdp, iris: shoal {seconds:.3f} s, bound {bound:.6f} ({(OPTIMUM - bound) / OPTIMUM:.1e} below the optimum)")
    for eps in [1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7]:
        other, took = scs_once(x, 3, eps)
        print(f"  SCS {eps:.0e}: {took:.3f} s ({took / seconds:.1f}x), bound {other:.6f} ({(OPTIMUM - other) / OPTIMUM:.1e})", flush=True)
        if other >= bound:
            break


if sys.argv[1] == "--rival":
    rival(sys.argv[2], sys.argv[3], sys.argv[4] == "1", int(sys.argv[5]))
elif sys.argv[1] == "--make":
    make(sys.argv[2], sys.argv[3], int(sys.argv[4]))
else:
    SHOAL, FOLDER = sys.argv[1], sys.argv[2]
    THREADS = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
    for name in NAMES:
        os.environ[name] = str(THREADS)
    for case in sys.argv[4:] or [*CASES, "sdp"]:
        if case == "sdp":
            sdp("testdata/cluster/uci-small/iris.csv")
        else:
            compare(case)
