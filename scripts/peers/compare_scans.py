"""Runs the scans of `shoal kernels` and the same in PyTorch on equal inputs: results and gradients first, then times.

    python compare_scans.py SHOAL [--threads 2] [--rounds 5]

PyTorch has no scan of its own. Its side is what people run without a GPU: the selective scan as a loop over the steps with everything
else vectorised (as in the published reference function) and by the parallel scan of the package mambapy, SSD in chunks of matrix products
(as in the published minimal form), the convolution by the library's own. Decoding is one step of the selective scan with its state.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from mambapy.pscan import pscan

import torch_common as common

# Largest difference relative to the largest number, f32 against f32.
TOLERANCE = 1e-4


def selective_scan(u, delta, A, B, C, D, z, delta_bias):
    delta = F.softplus(delta + delta_bias[:, None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    fed = torch.einsum("bdl,bnl,bdl->bdln", delta, B[:, 0], u)
    state, rows = torch.zeros(u.shape[0], u.shape[1], A.shape[1]), []
    # Unbound once: the gradient of a slice by number would be as large as the whole.
    for a, x, c in zip(decay.unbind(2), fed.unbind(2), C[:, 0].unbind(2)):
        state = a * state + x
        rows.append((state * c[:, None]).sum(2))
    return (torch.stack(rows, 2) + D[:, None] * u) * F.silu(z)


def parallel_selective_scan(u, delta, A, B, C, D, z, delta_bias):
    """The same by mambapy's scan over (batch, steps, channels, states)."""
    delta = F.softplus(delta + delta_bias[:, None]).transpose(1, 2)
    x = u.transpose(1, 2)
    decay = torch.exp(delta[..., None] * A)
    states = pscan(decay, (delta * x)[..., None] * B[:, 0].transpose(1, 2)[:, :, None])
    y = (states @ C[:, 0].transpose(1, 2)[..., None]).squeeze(3) + D * x
    return y.transpose(1, 2) * F.silu(z)


def selective_step(u, delta, A, B, C, D, z, delta_bias, initial_state):
    """One step; all sequences have length 1."""
    delta = F.softplus(delta[..., 0] + delta_bias)
    state = torch.exp(delta[..., None] * A) * initial_state + (delta * u[..., 0])[..., None] * B[:, :, :, 0]
    return ((state @ C[:, 0]) + D[:, None] * u) * F.silu(z)


def sums_of_steps(a):
    """Σ a over j < k <= i for i >= j, -inf above; the last axis is time."""
    length = a.shape[-1]
    spread = a[..., None].expand(*a.shape, length).masked_fill(~torch.tril(torch.ones(length, length, dtype=bool), -1), 0)
    return torch.cumsum(spread, -2).masked_fill(~torch.tril(torch.ones(length, length, dtype=bool)), -torch.inf)


def ssd(X, dt, A, B, C, D, chunk=64):
    b, l, h, p = X.shape
    count, repeat = l // chunk, h // B.shape[2]
    Bh, Ch = (m.repeat_interleave(repeat, 2).view(b, count, chunk, h, -1) for m in (B, C))
    x = (X * dt[..., None]).view(b, count, chunk, h, p)
    a = (dt * A).view(b, count, chunk, h).permute(0, 3, 1, 2)
    cumulative = torch.cumsum(a, -1)
    inside = torch.exp(sums_of_steps(a))
    y = torch.einsum("bclhn,bcshn,bhcls,bcshp->bclhp", Ch, Bh, inside, x)
    to_end = torch.exp(cumulative[..., -1:] - cumulative)
    states = torch.einsum("bclhn,bhcl,bclhp->bchpn", Bh, to_end, x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], 1)
    across = torch.exp(sums_of_steps(F.pad(cumulative[..., -1], (1, 0))))
    states = torch.einsum("bhzc,bchpn->bzhpn", across, states)[:, :-1]
    y = y + torch.einsum("bclhn,bchpn,bhcl->bclhp", Ch, states, torch.exp(cumulative))
    return y.reshape(b, l, h, p) + D[:, None] * X


def causal_conv(x, weight, bias):
    k = weight.shape[1]
    return F.silu(F.conv1d(F.pad(x, (k - 1, 0)), weight[:, None], bias, groups=x.shape[1]))


def normal(generator, *shape, size=1.0, shift=0.0):
    return (shift + size * generator.standard_normal(shape)).astype(np.float32)


def inputs(op, size, seed=1):
    """Arrays by name, in the order of the PyTorch function."""
    g = np.random.default_rng(seed)
    b, l = size["b"], size["l"]
    if op == "causal-conv1d":
        d, k = size["d"], size["k"]
        return {"x": normal(g, b, d, l), "weight": normal(g, d, k, size=0.5), "bias": normal(g, d)}
    if op == "selective-scan":
        d, n = size["d"], size["n"]
        return {
            "u": normal(g, b, d, l), "delta": normal(g, b, d, l), "A": -np.exp(normal(g, d, n, size=0.5)), "B": normal(g, b, 1, n, l),
            "C": normal(g, b, 1, n, l), "D": normal(g, d), "z": normal(g, b, d, l), "delta_bias": normal(g, d, shift=-1.0),
        }
    h, p, n = size["h"], size["p"], size["n"]
    return {
        "X": normal(g, b, l, h, p), "dt": np.abs(normal(g, b, l, h, size=0.1)), "A": -np.exp(normal(g, h, size=0.5)),
        "B": normal(g, b, l, 1, n), "C": normal(g, b, l, 1, n), "D": normal(g, h),
    }


# Result, its gradient, small sizes for the answers, and who else computes it.
CASES = {
    "causal-conv1d": ("y", "dy", dict(b=2, d=5, l=37, k=4), {"PyTorch": causal_conv}),
    "selective-scan": (
        "out", "dout", dict(b=2, d=19, l=131, n=5), {"PyTorch": selective_scan, "mambapy": parallel_selective_scan},
    ),
    "ssd": ("Y", "dY", dict(b=2, l=192, h=3, p=7, n=5), {"PyTorch": ssd}),
}
TIMED = [
    ("causal-conv1d", dict(b=1, d=1536, l=2048, k=4)),
    ("selective-scan", dict(b=8, d=1536, l=512, n=16)),
    ("selective-scan", dict(b=1, d=1536, l=2048, n=16)),
    ("selective-scan", dict(b=1, d=5120, l=1, n=16)),
    ("ssd", dict(b=1, l=2048, h=24, p=64, n=128)),
]


def leaves_of(arrays):
    return [torch.from_numpy(v).requires_grad_(True) for v in arrays.values()]


def check(shoal, op):
    """Largest difference of the result and of all gradients, over all peers."""
    result, gradient, size, peers = CASES[op]
    arrays, worst = inputs(op, size), 0
    for function in peers.values():
        leaves = leaves_of(arrays)
        y = function(*leaves)
        dy = normal(np.random.default_rng(2), *y.shape)
        y.backward(torch.from_numpy(dy))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            np.savez(folder / "in.npz", **arrays, **{gradient: dy})
            subprocess.run([shoal, "kernels", "run", op, folder / "in.npz", "--grad", "-o", folder / "out.npz"], check=True)
            with np.load(folder / "out.npz") as ours:
                pairs = [(ours[result], y.detach().numpy())]
                pairs += [(ours[f"g_{k}"], v.grad.numpy()) for k, v in zip(arrays, leaves)]
                worst = max(worst, *(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))
    return worst


def check_step(shoal):
    """The same for one step of the selective scan with a state."""
    arrays = inputs("selective-scan", dict(b=2, d=19, l=1, n=5))
    arrays["h0"] = normal(np.random.default_rng(3), 2, 19, 5)
    y = selective_step(*(torch.from_numpy(v) for v in arrays.values())).numpy()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "in.npz", **arrays)
        subprocess.run([shoal, "kernels", "run", "selective-scan", folder / "in.npz", "-o", folder / "out.npz"], check=True)
        with np.load(folder / "out.npz") as ours:
            return np.abs(ours["out"] - y).max() / np.abs(y).max()


def median(rounds, work):
    times = []
    for k in range(rounds + 1):
        start = time.perf_counter()
        work()
        if k:
            times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)[rounds // 2]


def ours(args, op, size):
    """Milliseconds forward and backward."""
    command = [args.shoal, "kernels", "bench", op, "--json", "-q", "--threads", str(args.threads), "--rounds", str(4 * args.rounds)]
    command += ["--size", ",".join(f"{k}={v}" for k, v in size.items())]
    timings = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["timings"]
    return [t["median_ms"] for t in timings]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shoal")
    parser.add_argument("--rounds", type=int, default=3)
    common.common_arguments(parser)
    args = parser.parse_args()
    common.start(args)
    differences = {op: check(args.shoal, op) for op in CASES}
    differences["selective-scan"] = max(differences["selective-scan"], check_step(args.shoal))
    for op, difference in differences.items():
        print(f"{op}: largest difference {difference:.1e} of the largest number")
    if not max(differences.values()) <= TOLERANCE:
        raise SystemExit("the answers do not agree")
    print(f"{'':16} {'':34} {'forward, ms':>22} {'and gradients, ms':>22}")
    print(f"{'op':16} {'sizes':34} {'ours':>11}{'theirs':>11} {'ours':>11}{'theirs':>11}  ratio  peer")
    for op, size in TIMED:
        forward, backward = ours(args, op, size)
        arrays = inputs(op, size)
        step = size["l"] == 1
        if step:
            arrays["h0"] = normal(np.random.default_rng(3), size["b"], size["d"], size["n"])
        for name, function in ({"PyTorch": selective_step} if step else CASES[op][3]).items():
            leaves = leaves_of(arrays)
            with torch.no_grad():
                theirs = median(args.rounds * (200 if step else 1), lambda: function(*leaves))
                seed = torch.ones_like(function(*leaves))
            line = f"{op:16} {' '.join(f'{k}={v}' for k, v in size.items()):34} {forward:11.3f}{theirs:11.3f} "
            if step:
                print(f"{line}{'':22}  {theirs / forward:5.1f}  {name}", flush=True)
                continue

            def both():
                for leaf in leaves:
                    leaf.grad = None
                function(*leaves).backward(seed)

            all_of_it, total = median(args.rounds, both), forward + backward
            print(f"{line}{total:11.1f}{all_of_it:11.1f}  {all_of_it / total:5.1f}  {name}", flush=True)


if __name__ == "__main__":
    main()
