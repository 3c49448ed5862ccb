"""PatchTST in PyTorch: a rival to measure, and the source of a golden file for shoal's own PatchTST.

    python torch_patchtst.py --check OUT.json          self-checks in float64, then writes the golden file
    python torch_patchtst.py --bench --data ETTh1.csv  trains and times

Source: Nie et al., A Time Series is Worth 64 Words, ICLR 2023 (arXiv 2211.14730). Written for this project from the paper and
from what is publicly known of the behaviour of its supervised program; no code of it was opened. Decisions, each channel of each
window being one series of the batch (R = B*N rows, row b*N+n):

1.  RevIN per channel and window, over time: population variance, eps 1e-5, statistics without gradient. Without learned scale and
    shift by default; with them (affine), undoing is (y - bias) / (weight + 1e-10) * std + mean.
2.  The last value is repeated `stride` times at the end, then patches of `patch` values every `stride`: P = (L - patch) // stride + 2.
3.  One linear map patch -> D for all patches (bias), plus a learned table `embed.pos` (P, D), started uniform within +-0.02; dropout.
4.  Encoder layers, normalised after each residual sum (post-norm):
        x = norm1(x + drop(attention(x)));  x = norm2(x + drop(ff(x)));  ff = Linear D->F, exact GELU, dropout, Linear F->D
    Attention: separate q, k, v and out maps with bias, heads split D in order (head h takes h*D/heads and on), scores scaled by
    (D/heads)^-1/2, no dropout on the attention weights. The paper's program drops the attention output twice in a row; here once,
    with keep probability (1 - p)^2, which is the same distribution.
    No norm behind the last layer.
5.  norm1 and norm2 are batch norms over D: statistics over rows and patches together, eps 1e-5, momentum 0.1, the running
    variance fed with the unbiased one.
6.  Residual attention (the default, as in the paper's supervised program): the scores before the softmax of one layer, the sums
    included, are added to those of the next. `residual_attention` False leaves it out.
7.  Head shared by all channels: (D, P) flattened width first (element d*P + p), one linear map to the horizon. No dropout.

Not taken over: learned start token, patch padding off, per-channel heads, layer norm, pre-norm, sparse attention dropout.
"""

import argparse
import dataclasses
import json
import math
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import torch_common as common


@dataclasses.dataclass
class Config:
    seq_len: int = 96
    pred_len: int = 96
    channels: int = 7
    patch: int = 16
    stride: int = 8
    d_model: int = 128
    heads: int = 16
    layers: int = 3
    d_ff: int = 256
    dropout: float = 0.2
    revin: bool = True
    affine: bool = False
    residual_attention: bool = True

    @property
    def patches(self):
        return (self.seq_len - self.patch) // self.stride + 2


class Embedding(nn.Linear):
    def __init__(self, cfg):
        super().__init__(cfg.patch, cfg.d_model)
        self.pos = nn.Parameter(torch.empty(cfg.patches, cfg.d_model).uniform_(-0.02, 0.02))

    def forward(self, x):  # (R, P, patch) -> (R, P, D)
        return super().forward(x) + self.pos


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg.d_model
        self.heads, self.residual = cfg.heads, cfg.residual_attention
        self.q, self.k, self.v, self.out = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x, earlier):  # (R, P, D), scores (R, heads, P, P) or None -> the same
        r, p, d = x.shape
        q, k, v = (m(x).view(r, p, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        if self.residual:
            scores = q @ k.transpose(2, 3) * (d // self.heads) ** -0.5
            earlier = scores if earlier is None else scores + earlier
            y = earlier.softmax(dim=-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(r, p, d)), earlier


class BatchNorm(nn.BatchNorm1d):
    """Over the last axis of (R, P, D)."""

    def forward(self, x):
        return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)


class Layer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d, p = cfg.d_model, cfg.dropout
        self.attn = Attention(cfg)
        self.norm1 = BatchNorm(d)
        self.ff = nn.Sequential(nn.Linear(d, cfg.d_ff), nn.Sequential(nn.GELU(), nn.Dropout(p)), nn.Linear(cfg.d_ff, d))
        self.norm2 = BatchNorm(d)
        self.drop1, self.drop2 = nn.Dropout(1 - (1 - p) ** 2), nn.Dropout(p)

    def forward(self, x, earlier):
        y, earlier = self.attn(x, earlier)
        x = self.norm1(x + self.drop1(y))
        return self.norm2(x + self.drop2(self.ff(x))), earlier


class PatchTST(nn.Module):
    """past (B, L, N) -> forecast (B, H, N)."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = Embedding(cfg)
        self.drop = nn.Dropout(cfg.dropout)
        for i in range(cfg.layers):
            self.add_module(f"layer{i}", Layer(cfg))
        self.head = nn.Linear(cfg.d_model * cfg.patches, cfg.pred_len)
        self.norm = common.RevIN(cfg.channels, cfg.affine) if cfg.revin else None

    def forward(self, x):
        cfg = self.cfg
        b, _, n = x.shape
        if cfg.revin:
            x, statistics = self.norm(x)
        x = F.pad(x.transpose(1, 2), (0, cfg.stride), mode="replicate")
        h = self.embed(x.unfold(2, cfg.patch, cfg.stride).reshape(b * n, cfg.patches, cfg.patch))
        h, scores = self.drop(h), None
        for i in range(cfg.layers):
            h, scores = getattr(self, f"layer{i}")(h, scores)
        y = self.head(h.transpose(1, 2).flatten(1)).view(b, n, -1).transpose(1, 2)
        return self.norm.invert(y, statistics) if cfg.revin else y


def build(cfg, scale):
    model = PatchTST(cfg)
    parameters = dict(model.named_parameters())
    order = common.order_of(parameters, list(parameters))
    common.load_weights(parameters, order, scale)
    return model, order


# ---------------------------------------------------------------------------------------------------------------- golden

BATCH = 2
BASE = dict(seq_len=16, pred_len=5, channels=3, patch=4, stride=2, d_model=8, heads=2, layers=2, d_ff=12, dropout=0.0)
CASES = {
    "residual_attention": {},
    "plain_attention": {"residual_attention": False},
    "affine": {"affine": True},
    "no_revin": {"revin": False},
    "uneven_length": {"seq_len": 17, "layers": 3},
}
STEPS, RATE = 5, 1e-3


def golden_data(cfg):
    b, t, n = np.meshgrid(np.arange(BATCH), np.arange(cfg.seq_len), np.arange(cfg.channels), indexing="ij")
    x = np.sin(0.7 * t + 1.1 * n + 0.5 * b) + 0.05 * (n - 1) * t + 0.2 * ((3 * t + 2 * b + n) % 5)
    b, t, n = np.meshgrid(np.arange(BATCH), np.arange(cfg.pred_len), np.arange(cfg.channels), indexing="ij")
    return x, np.cos(0.6 * t + 0.9 * n - 0.4 * b) + 0.3 * n


def by_hand(cfg, weights, x, running=None):
    """The forward pass in numpy, one series, head and query at a time; running: batch-norm statistics, None for the batch's own."""
    w = weights

    def linear(name, z):
        return z @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, z):
        if running is None:
            mean, var = z.mean((0, 1)), z.var((0, 1))
        else:
            mean, var = running[f"{name}.running_mean"], running[f"{name}.running_var"]
        return (z - mean) / np.sqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    erf = np.vectorize(math.erf)
    rows, back = [], []
    for window in x:
        for c in range(cfg.channels):
            s = window[:, c]
            mean, std = (s.mean(), math.sqrt(s.var() + 1e-5)) if cfg.revin else (0.0, 1.0)
            back.append((mean, std, c))
            s = (s - mean) / std
            if cfg.affine:
                s = s * w["norm.weight"][c] + w["norm.bias"][c]
            s = np.append(s, [s[-1]] * cfg.stride)
            rows.append([s[p * cfg.stride : p * cfg.stride + cfg.patch] for p in range(cfg.patches)])
    h = linear("embed", np.array(rows)) + w["embed.pos"]
    size = cfg.d_model // cfg.heads
    carried = np.zeros((len(rows), cfg.heads, cfg.patches, cfg.patches))
    for i in range(cfg.layers):
        q, k, v = (linear(f"layer{i}.attn.{m}", h) for m in "qkv")
        mixed = np.zeros_like(h)
        for r in range(len(rows)):
            for a in range(cfg.heads):
                part = slice(a * size, (a + 1) * size)
                for query in range(cfg.patches):
                    scores = np.array([q[r, query, part] @ k[r, key, part] for key in range(cfg.patches)]) / math.sqrt(size)
                    if cfg.residual_attention:
                        scores = carried[r, a, query] = scores + carried[r, a, query]
                    e = np.exp(scores - scores.max())
                    mixed[r, query, part] = (e / e.sum()) @ v[r, :, part]
        h = norm(f"layer{i}.norm1", h + linear(f"layer{i}.attn.out", mixed))
        z = linear(f"layer{i}.ff.0", h)
        h = norm(f"layer{i}.norm2", h + linear(f"layer{i}.ff.2", z * 0.5 * (1 + erf(z / math.sqrt(2)))))
    out = np.zeros((len(x), cfg.pred_len, cfg.channels))
    for r, (mean, std, c) in enumerate(back):
        y = w["head.bias"].copy()
        for d in range(cfg.d_model):
            for p in range(cfg.patches):
                y += w["head.weight"][:, d * cfg.patches + p] * h[r, p, d]
        if cfg.affine:
            y = (y - w["norm.bias"][c]) / (w["norm.weight"][c] + 1e-10)
        out[r // cfg.channels, :, c] = y * std + mean
    return out


def golden_case(name, override, checks):
    cfg = Config(**{**BASE, **override})
    model, order = build(cfg, 0.5)
    parameters = dict(model.named_parameters())
    x, y = golden_data(cfg)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)
    weights = common.formula_weights(order, 0.5)

    forecast = model(xt)
    checks.near(f"{name}: training mode against numpy", forecast.detach(), by_hand(cfg, weights, x), 1e-11)
    loss = F.mse_loss(forecast, yt)
    loss.backward()
    gradients = {key: p.grad.clone() for key, p in parameters.items()}
    running = {key: b.clone() for key, b in model.named_buffers() if "running" in key}
    model.eval()
    with torch.no_grad():
        settled = model(xt)
    by_running = by_hand(cfg, weights, x, {key: b.numpy() for key, b in running.items()})
    checks.near(f"{name}: evaluation mode against numpy", settled, by_running, 1e-11)

    # Central differences through the numpy pass, the element with the largest gradient and the first of every parameter.
    worst = ([], [])
    for key, g in gradients.items():
        for at in {0, int(g.abs().argmax())}:
            ends = []
            for h in (1e-5, -1e-5):
                moved = {**weights, key: weights[key].copy()}
                moved[key].reshape(-1)[at] += h
                ends.append(((by_hand(cfg, moved, x) - y) ** 2).mean())
            worst[0].append(g.reshape(-1)[at].item())
            worst[1].append((ends[0] - ends[1]) / 2e-5)
    checks.near(f"{name}: gradients against central differences", worst[0], worst[1], 1e-7, True)

    # A short training run from the same start, its own batch-norm statistics included.
    model, _ = build(cfg, 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        step_loss = F.mse_loss(model(xt), yt)
        step_loss.backward()
        optimizer.step()
        losses.append(step_loss.item())
    checks.near(f"{name}: first loss of the run", losses[0], loss.item(), 1e-13)
    after = {}
    for key, p in model.named_parameters():
        flat = p.detach().flatten()
        after[key] = common.sum_and_norm(flat) + [flat[0].item(), flat[-1].item()]
    model.eval()
    with torch.no_grad():
        trained = model(xt)
    return {
        "override": override,
        "patches": cfg.patches,
        "param_order": order,
        "x": x.tolist(),
        "target": y.tolist(),
        "y_train": forecast.tolist(),
        "loss": loss.item(),
        "grad": {key: common.sum_and_norm(g) for key, g in gradients.items()},
        "running": {key: b.tolist() for key, b in running.items()},
        "y_eval": settled.tolist(),
        "training": {
            "losses": losses,
            "params": after,
            "running": {key: common.sum_and_norm(b) for key, b in model.named_buffers() if "running" in key},
            "y_eval": trained.tolist(),
        },
    }


def check(args):
    torch.set_default_dtype(torch.float64)
    checks = common.Checks()
    golden = {
        "desc": "PatchTST, float64, dropout 0; made by scripts/peers/torch_patchtst.py --check with PyTorch "
        f"{torch.__version__}, forward passes and gradients checked there against a numpy implementation",
        "init_rule": "element k (row-major) of parameter i = 0.5*sin(1.7k+0.3i+0.5), i = index in param_order; names with 'norm' that end in 'weight' add 1",
        "format": "y_train: forward with batch statistics; loss: mean squared error of y_train and target; grad: name -> [sum, L2 norm] of its gradient; "
        "running: batch-norm statistics after that one pass (start: mean 0, variance 1; momentum 0.1, unbiased variance); y_eval: forward with them. "
        f"training: {STEPS} Adam steps from the start (rate {RATE}, betas 0.9 and 0.999, eps 1e-8) on the same x and target: loss before each step; "
        "params: name -> [sum, L2 norm, first, last] after; running: name -> [sum, L2 norm]; y_eval after",
        "tolerance": "1e-9 absolute. Gradients of attn.k.bias, attn.v.bias, attn.out.bias and ff.2.bias are zero but for rounding (softmax and batch norm cancel a constant)",
        "cfg": {"B": BATCH, **dataclasses.asdict(Config(**BASE))},
        "cases": {name: golden_case(name, override, checks) for name, override in CASES.items()},
    }
    with open(args.check, "w") as f:
        json.dump(golden, f)
        f.write("\n")
    checks.finish(args)


# ----------------------------------------------------------------------------------------------------------------- bench


def bench(args):
    dtype = getattr(torch, args.dtype)
    torch.set_default_dtype(dtype)
    cfg = Config(
        seq_len=args.lookback,
        pred_len=args.horizon,
        dropout=args.dropout,
        affine=args.affine,
        residual_attention=not args.plain_attention,
    )
    windows = common.Windows(args.data, cfg.seq_len, cfg.pred_len, dtype)
    order = common.window_order(args.order, windows.count)
    epoch = len(order) // args.batch
    steps = epoch if args.steps is None else args.steps
    if steps > epoch:
        sys.exit(f"--steps {steps}: {len(order)} windows make {epoch} batches of {args.batch}")
    model, _ = build(cfg, args.scale)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)
    network = torch.compile(model) if args.compile else model

    def step(n):
        def forward(batch):
            x, _, y = batch
            return F.mse_loss(network(x), y)

        return common.parts(forward, optimizer, lambda: windows.batch(order[n * args.batch : (n + 1) * args.batch]))

    result = common.train(args, steps, step)
    result["seconds_per_epoch"] = result["total_seconds"] if steps == epoch else None
    result = {
        "rival": "patchtst",
        "mode": "compile" if args.compile else "eager",
        "config": dataclasses.asdict(cfg),
        "batch": args.batch,
        "dtype": args.dtype,
        "init": "sin/sqrt(fan_in)" if args.scale is None else f"{args.scale}*sin",
        "steps_per_epoch": epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        **result,
    }
    common.report(args, result)


def main():
    parser = argparse.ArgumentParser(description="PatchTST in PyTorch", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--check", metavar="OUT.json", help="self-checks in float64, then writes the golden file")
    common.bench_arguments(parser)
    common.common_arguments(parser)
    parser.add_argument("--data", help="ETTh1.csv, for --bench")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lookback", type=int, default=96)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--affine", action="store_true", help="RevIN with learned scale and shift")
    parser.add_argument("--plain-attention", action="store_true", help="without residual attention scores")
    parser.add_argument("--lr", type=float, default=1e-4, help="constant rate of Adam")
    parser.add_argument("--steps", type=int, help="stop after this many batches (default: the epoch)")
    parser.add_argument("--order", help="text file of window numbers (default: file order)")
    args = parser.parse_args()
    if bool(args.check) == args.bench or (args.bench and args.data is None):
        parser.error("give one of --check OUT.json and --bench --data ETTh1.csv")
    common.start(args)
    check(args) if args.check else bench(args)


if __name__ == "__main__":
    main()
