"""Single operations in PyTorch, with the shapes and numbers of benches/training/ops.rs.

    python torch_ops.py --rounds 30 --threads 2

Prints one JSON object a line. Where there are several ways to write an operation, all are timed and the fastest counts.
Element k of input i is size * sin(0.37 k + i), of the gradient of the result cos(0.11 k).
"""

import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F

import torch_common as common


def middle_product(x, w, b):
    return torch.matmul(w, x) + b[:, None]


def middle_linear(x, w, b):
    return F.linear(x.transpose(1, 2), w, b).transpose(1, 2)


def two(first, second):
    """Two maps with a GELU between; `first` and `second` take (x, w, b)."""
    return lambda x, w1, b1, w2, b2: second(F.gelu(first(x, w1, b1)), w2, b2)


def middle_mlp_rows(x, w1, b1, w2, b2):
    """One transpose before both maps and one after."""
    return F.linear(F.gelu(F.linear(x.transpose(1, 2), w1, b1)), w2, b2).transpose(1, 2)


def attention(heads, causal):
    def run(q, k, v):
        split = lambda t: t.view(t.shape[0], t.shape[1], heads, -1).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=causal)
        return y.transpose(1, 2).reshape(q.shape)

    return run


def pooled_trend(x):
    padded = torch.cat([x[:, :1].expand(-1, 12), x, x[:, -1:].expand(-1, 12)], 1)
    return F.avg_pool1d(padded[:, None], 25, 1)[:, 0]


AVERAGE = None


def product_trend(x):
    """The moving average as a matrix."""
    global AVERAGE
    if AVERAGE is None:
        eye = torch.eye(x.shape[1])
        AVERAGE = pooled_trend(eye)
    return x @ AVERAGE


def instance_norm(x, gain, shift):
    var, mean = torch.var_mean(x.detach(), dim=2, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(var + 1e-5) * gain[:, None] + shift[:, None]


def cross_entropy(x):
    return F.cross_entropy(x, torch.arange(x.shape[0]) * 31 % 256)


MAP = [((14336, 96), 1.0)]
CASES = {
    "linear 14336x96 -> 96": (MAP + [((96, 96), 0.1), ((96,), 0.1)], [F.linear]),
    "linear + gelu 14336x96 -> 48": (MAP + [((48, 96), 0.1), ((48,), 0.1)], [lambda x, w, b: F.gelu(F.linear(x, w, b))]),
    "linear + silu 14336x96 -> 48": (MAP + [((48, 96), 0.1), ((48,), 0.1)], [lambda x, w, b: F.silu(F.linear(x, w, b))]),
    "mlp 14336x96 -> gelu 48 -> 48": (
        MAP + [((48, 96), 0.1), ((48,), 0.1), ((48, 48), 0.1), ((48,), 0.1)],
        [two(F.linear, F.linear)],
    ),
    "mlp 10752x128 -> gelu 256 -> 128": (
        [((10752, 128), 1.0), ((256, 128), 0.1), ((256,), 0.1), ((128, 256), 0.1), ((128,), 0.1)],
        [two(F.linear, F.linear)],
    ),
    "linear over the middle axis 896x(16 -> 32)x96": (
        [((896, 16, 96), 1.0), ((32, 16), 0.2), ((32,), 0.1)],
        [middle_product, middle_linear],
    ),
    "mlp over the middle axis 896x(16 -> gelu 32 -> 16)x96": (
        [((896, 16, 96), 1.0), ((32, 16), 0.2), ((32,), 0.1), ((16, 32), 0.2), ((16,), 0.1)],
        [two(middle_product, middle_product), middle_mlp_rows],
    ),
    "layer norm 14336x128": ([((14336, 128), 1.0), ((128,), 1.0), ((128,), 0.1)], [lambda x, w, b: F.layer_norm(x, (128,), w, b)]),
    "rms norm 14336x128": ([((14336, 128), 1.0), ((128,), 1.0)], [lambda x, w: F.rms_norm(x, (128,), w, 1e-5)]),
    "softmax 16384x96": ([((16384, 96), 3.0)], [lambda x: F.softmax(x, -1)]),
    "attention 224 x 8 heads x 42 x 16": ([((224, 42, 128), 1.0)] * 3, [attention(8, False)]),
    "attention 4 x 4 heads x 512 x 64, causal": ([((4, 512, 256), 1.0)] * 3, [attention(4, True)]),
    "trend by moving average of 25, 14336x96": (MAP, [pooled_trend, product_trend]),
    "instance norm 128x7x512": ([((128, 7, 512), 1.0), ((7,), 1.0), ((7,), 0.1)], [instance_norm]),
    "average pooling by 2, 14336x96": (MAP, [lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], lambda x: x.view(x.shape[0], -1, 2).mean(2)]),
    "mean squared error 128x7x720": ([((128, 7, 720), 1.0)], [lambda x: F.mse_loss(x, torch.zeros_like(x))]),
    "cross entropy 16384x256": ([((16384, 256), 3.0)], [cross_entropy]),
}


def wave(shape, f, step, shift, size):
    k = np.arange(int(np.prod(shape)), dtype=np.float64)
    return torch.from_numpy((size * f(step * k + shift)).astype(np.float32).reshape(shape))


def digest(t):
    t = t.detach().double()
    return [t.sum().item(), t.pow(2).sum().sqrt().item()]


def measure(rounds, work):
    times = []
    for k in range(rounds + 2):
        start = time.perf_counter()
        work()
        if k >= 2:
            times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    return [times[rounds // 2], times[0]]


def main():
    parser = argparse.ArgumentParser(description="single operations in PyTorch")
    parser.add_argument("--rounds", type=int, default=30)
    common.common_arguments(parser)
    args = parser.parse_args()
    common.start(args)
    for name, (shapes, ways) in CASES.items():
        inputs = [wave(shape, np.sin, 0.37, i, size) for i, (shape, size) in enumerate(shapes)]
        best = None
        for way in ways:
            with torch.no_grad():
                y = way(*inputs)
                forward = measure(args.rounds, lambda: way(*inputs))
            seed = wave(tuple(y.shape), np.cos, 0.11, 0, 1.0)
            leaves = [t.clone().requires_grad_(True) for t in inputs]

            def both():
                for leaf in leaves:
                    leaf.grad = None
                way(*leaves).backward(seed)

            both()
            digests = [digest(y)] + [digest(leaf.grad) for leaf in leaves]
            result = {"op": name, "forward_ms": forward, "both_ms": measure(args.rounds, both), "digests": digests}
            if best is None or result["both_ms"][0] < best["both_ms"][0]:
                best = result
        print(json.dumps(best), flush=True)


if __name__ == "__main__":
    main()
