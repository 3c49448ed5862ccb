"""Runs the scans of `shoal kernels` and the same in PyTorch on equal inputs: results and gradients first, then times.

    python compare_scans.py SHOAL [--threads 2] [--rounds 5]

PyTorch has no scan of its own. Its side is what people run without a GPU: the selective scan as a loop over the steps with everything
else vectorised (as in the published reference function), SSD in chunks of matrix products (as in the published minimal form), the
convolution by the library's own.
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


CASES = {
    # Function, result, its gradient, small sizes for the answers.
    "causal-conv1d": (causal_conv, "y", "dy", dict(b=2, d=5, l=37, k=4)),
    "selective-scan": (selective_scan, "out", "dout", dict(b=2, d=19, l=131, n=5)),
    "ssd": (ssd, "Y", "dY", dict(b=2, l=192, h=3, p=7, n=5)),
}


def check(shoal, op):
    """Largest difference of the result and of all gradients."""
    function, result, gradient, size = CASES[op]
    arrays = inputs(op, size)
    leaves = {k: torch.from_numpy(v).requires_grad_(True) for k, v in arrays.items()}
    y = function(*leaves.values())
    dy = normal(np.random.default_rng(2), *y.shape)
    y.backward(torch.from_numpy(dy))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "in.npz", **arrays, **{gradient: dy})
        subprocess.run([shoal, "kernels", "run", op, folder / "in.npz", "--grad", "-o", folder / "out.npz"], check=True)
        with np.load(folder / "out.npz") as ours:
            pairs = [(ours[result], y.detach().numpy())] + [(ours[f"g_{k}"], v.grad.numpy()) for k, v in leaves.items()]
            return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)


def median(rounds, work):
    times = []
    for k in range(rounds + 1):
        start = time.perf_counter()
        work()
        if k:
            times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)[rounds // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shoal")
    parser.add_argument("--rounds", type=int, default=5)
    common.common_arguments(parser)
    args = parser.parse_args()
    common.start(args)
    agree = True
    print(f"{'op':16} {'sizes':34} {'forward, ms':>22} {'and gradients, ms':>22}")
    print(f"{'':16} {'':34} {'ours':>11}{'PyTorch':>11} {'ours':>11}{'PyTorch':>11}  ratio")
    for op, (function, *_rest) in CASES.items():
        difference = check(args.shoal, op)
        agree &= bool(difference <= TOLERANCE)
        command = [args.shoal, "kernels", "bench", op, "--json", "-q", "--rounds", str(2 * args.rounds), "--threads", str(args.threads)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        forward, backward = (t["median_ms"] for t in ours["timings"])
        sizes = ours["timings"][0]["sizes"]
        size = {k: int(v) for k, v in (part.split("=") for part in sizes.split())}
        leaves = [torch.from_numpy(v).requires_grad_(True) for v in inputs(op, size).values()]
        with torch.no_grad():
            theirs = median(args.rounds, lambda: function(*leaves))
            seed = torch.ones_like(function(*leaves))

        def both():
            for leaf in leaves:
                leaf.grad = None
            function(*leaves).backward(seed)

        all_of_it = median(args.rounds, both)
        note = "" if difference <= TOLERANCE else f"  DIFFERS by {difference:.1e}"
        total = forward + backward
        print(f"{op:16} {sizes:34} {forward:11.1f}{theirs:11.1f} {total:11.1f}{all_of_it:11.1f}  {all_of_it / total:5.1f}{note}", flush=True)
    if not agree:
        raise SystemExit("the answers do not agree")


if __name__ == "__main__":
    main()
