"""TimeMixer in PyTorch: the rival of `make peers`, and a second implementation to check the golden files with.

    python torch_timemixer.py --check GOLDENS ETTh1.csv     GOLDENS: the folder of the timemixer*_golden.json files
    python torch_timemixer.py --bench ETTh1.csv             one epoch of the unified ETTh1 preset at horizon 96

Source: Wang et al., TimeMixer, ICLR 2024 (arXiv 2405.14616). Written for this project from the equations and the description of
the behaviour, not from the paper's program.

Three ways to write it, equal up to rounding (--variant):

    plain   activations (series, time, width) as the paper's text has them: a transpose around every layer that works along
            time, the moving average by pooling
    fast    activations (series, width, time), so that all layers along time are plain matrix products; the moving average is a
            product with a constant T x T matrix (a quarter of the time of pooling on a CPU). The default and the reference rival
    folded  fast, and the final width -> 1 projection is taken before the heads (both are linear, so they commute): the heads
            then work on 1/width of the numbers

Letters: B windows, N channels, T_i steps of scale i, H horizon, D width; R = B*N series, row b*N+n.
"""

import argparse
import dataclasses
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import torch_common as common


@dataclasses.dataclass
class Config:
    seq_len: int = 96
    pred_len: int = 96
    channels: int = 7
    d_model: int = 16
    d_ff: int = 32
    e_layers: int = 2
    scales: int = 3  # coarser scales beside the window itself
    window: int = 2
    pooling: str = "avg"
    moving_avg: int = 25
    dropout: float = 0.1
    channel_independent: bool = True
    use_norm: bool = True
    mark_order: str = "correct"  # or "reference": row r takes the marks of window r mod B
    future_marks: bool = False
    decomposition: str = "moving_avg"  # or "dft_reference", what the paper's program does in that setting
    variant: str = "fast"

    @property
    def lengths(self):
        lengths = [self.seq_len]
        for _ in range(self.scales):
            lengths.append(lengths[-1] // self.window)
        return lengths


def mlp(inside, hidden, outside):
    return nn.Sequential(nn.Linear(inside, hidden), nn.GELU(), nn.Linear(hidden, outside))


def averaging_matrix(length, kernel):
    """Row t averages the `kernel` steps around t; steps outside the series count as its first or last step."""
    half = (kernel - 1) // 2
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for t in range(length):
        for k in range(t - half, t + half + 1):
            matrix[t, min(max(k, 0), length - 1)] += 1 / kernel
    return matrix


class MovingAverage(nn.Module):
    """(..., T) -> (..., T), edge-replicated, for one of a few lengths."""

    def __init__(self, lengths, kernel, by_matrix):
        super().__init__()
        self.kernel, self.by_matrix = kernel, by_matrix
        if by_matrix:
            for length in set(lengths):
                self.register_buffer(f"mean{length}", averaging_matrix(length, kernel).t().to(torch.get_default_dtype()), persistent=False)

    def forward(self, x):
        if self.by_matrix:
            return x @ getattr(self, f"mean{x.shape[-1]}")
        half = (self.kernel - 1) // 2
        return F.avg_pool1d(F.pad(x, (half, half), mode="replicate"), self.kernel, stride=1)


class Embedding(nn.Module):
    """Circular convolution over three steps, plus a linear map of the time marks."""

    def __init__(self, channels, width, marks=4):
        super().__init__()
        self.token = nn.Conv1d(channels, width, 3, padding=1, padding_mode="circular", bias=False)
        self.time = nn.Linear(marks, width, bias=False)


class Mixing(nn.Module):
    """One past-decomposable-mixing block. The scales come and go as (R, D, T_i); in the plain variant as (R, T_i, D)."""

    def __init__(self, cfg, average):
        super().__init__()
        self.cfg, self.average = cfg, average
        lengths = cfg.lengths
        for i, (fine, coarse) in enumerate(zip(lengths, lengths[1:])):
            self.add_module(f"season{i}", mlp(fine, coarse, coarse))
        for i, (coarse, fine) in enumerate(zip(lengths[:0:-1], lengths[-2::-1])):
            self.add_module(f"trend{i}", mlp(coarse, fine, fine))
        self.add_module("out" if cfg.channel_independent else "cross", mlp(cfg.d_model, cfg.d_ff, cfg.d_model))

    def time_last(self, x):
        """From the variant's layout to (R, D, T), and back."""
        return x.transpose(1, 2) if self.cfg.variant == "plain" else x

    def along_width(self, layer, x):
        return layer(x) if self.cfg.variant == "plain" else layer(x.transpose(1, 2)).transpose(1, 2)

    def decompose(self, h):
        if self.cfg.decomposition == "dft_reference":
            first = torch.zeros_like(h)
            first[0] = 1
            return h * (1 - first), h * first
        trend = self.time_last(self.average(self.time_last(h)))
        return h - trend, trend

    def forward(self, scales):
        mixing = not self.cfg.channel_independent
        seasons, trends = [], []
        for h in scales:
            season, trend = self.decompose(h)
            if mixing:
                season, trend = self.along_width(self.cross, season), self.along_width(self.cross, trend)
            seasons.append(self.time_last(season))
            trends.append(self.time_last(trend))
        m = self.cfg.scales
        for i in range(m):  # fine to coarse
            seasons[i + 1] = seasons[i + 1] + getattr(self, f"season{i}")(seasons[i])
        for i in range(m):  # coarse to fine
            trends[m - 1 - i] = trends[m - 1 - i] + getattr(self, f"trend{i}")(trends[m - i])
        mixed = [self.time_last(s + t) for s, t in zip(seasons, trends)]
        return mixed if mixing else [h + self.along_width(self.out, z) for h, z in zip(scales, mixed)]


class TimeMixer(nn.Module):
    """past (B, L, N), marks (B, L, 4) or None, future marks (B, H, 4) or None -> forecast (B, H, N)."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        lengths = cfg.lengths
        average = MovingAverage(lengths, cfg.moving_avg, by_matrix=cfg.variant != "plain")
        inputs = 1 if cfg.channel_independent else cfg.channels
        for e in range(cfg.e_layers):
            self.add_module(f"pdm{e}", Mixing(cfg, average))
        self.embed = Embedding(inputs, cfg.d_model)
        self.average = average
        self.dropout = nn.Dropout(cfg.dropout)
        for i in range(len(lengths)):
            self.add_module(f"norm{i}", common.RevIN(cfg.channels))
        for i, length in enumerate(lengths):
            self.add_module(f"pred{i}", nn.Linear(length, cfg.pred_len))
        self.proj = nn.Linear(cfg.d_model, inputs)
        if not cfg.channel_independent:
            for i, length in enumerate(lengths):
                self.add_module(f"out_res{i}", nn.Linear(length, length))
            for i, length in enumerate(lengths):
                self.add_module(f"regr{i}", nn.Linear(length, cfg.pred_len))

    def ordered_names(self):
        """The canonical parameter order: as registered, but all norm weights before all norm biases."""
        names = [name for name, _ in self.named_parameters()]
        norms = [n for n in names if n.startswith("norm")]
        at = names.index(norms[0])
        rest = [n for n in names if not n.startswith("norm")]
        weights = [n for n in norms if n.endswith("weight")]
        return rest[:at] + weights + [n for n in norms if n.endswith("bias")] + rest[at:]

    def scaled(self, x, marks):
        """The window and its pooled versions: [(B, T_i, N)], [(B, T_i, 4)]."""
        cfg = self.cfg
        pool = F.avg_pool1d if cfg.pooling == "avg" else F.max_pool1d
        xs, ms = [x], [marks]
        for length in cfg.lengths[1:]:
            xs.append(pool(xs[-1].transpose(1, 2), cfg.window).transpose(1, 2))
            # The first T_i rows: where L is no multiple of the window there is one mark row more than pooled rows.
            ms.append(None if marks is None else ms[-1][:, :: cfg.window][:, :length])
        return xs, ms

    def add_marks(self, h, marks):
        """h (R, D, T) plus the embedded marks of each row's window; a broadcast, not a tiled copy."""
        if marks is None:
            return h
        b, (rows, d, t) = marks.shape[0], h.shape
        timed = self.embed.time(marks).transpose(1, 2)  # (B, D, T)
        if rows == b:
            return h + timed
        if self.cfg.mark_order == "reference":
            return (h.view(-1, b, d, t) + timed).view(rows, d, t)
        return (h.view(b, -1, d, t) + timed[:, None]).view(rows, d, t)

    def future(self, marks, rows):
        """Embedded future marks for the heads: (R or B, D, H)."""
        zeros = self.embed.token.weight.new_zeros(rows, self.cfg.d_model, self.cfg.pred_len)
        return self.dropout(self.add_marks(zeros, marks))

    def forward(self, x, marks=None, future_marks=None):
        cfg = self.cfg
        b, _, n = x.shape
        xs, ms = self.scaled(x, marks)
        scales, trends, statistics = [], [], None
        for i, (xi, mi) in enumerate(zip(xs, ms)):
            if cfg.use_norm:
                xi, s = getattr(self, f"norm{i}")(xi)
                statistics = s if i == 0 else statistics
            xi = xi.transpose(1, 2)  # (B, N, T)
            if cfg.channel_independent:
                xi = xi.reshape(b * n, 1, -1)
            else:
                trend = self.average(xi)
                xi = xi - trend
                trends.append(trend)
            h = self.dropout(self.add_marks(self.embed.token(xi), mi))
            scales.append(h.transpose(1, 2).contiguous() if cfg.variant == "plain" else h)
        for e in range(cfg.e_layers):
            scales = getattr(self, f"pdm{e}")(scales)
        y = self.heads(scales, trends, future_marks)
        y = (y.view(b, n, -1) if cfg.channel_independent else y).transpose(1, 2)
        return self.norm0.invert(y, statistics) if cfg.use_norm else y

    def heads(self, scales, trends, future_marks):
        """Sum over the scales: (R, H) channel-independent, else (B, N, H)."""
        cfg, total = self.cfg, 0
        future = None
        if cfg.future_marks and future_marks is not None:
            future = self.future(future_marks, scales[0].shape[0])
        for i, h in enumerate(scales):
            pred = getattr(self, f"pred{i}")
            if cfg.variant == "folded" and future is None:
                # proj(pred(h)): the bias of pred passes through the projection's weights, that of proj is added at the end.
                flat = torch.matmul(self.proj.weight, h)  # (R, out, T)
                y = F.linear(flat, pred.weight)
                y = y + (pred.bias * self.proj.weight.sum(1, keepdim=True) + self.proj.bias[:, None])
            else:
                y = pred(h.transpose(1, 2) if cfg.variant == "plain" else h)  # (R, D, H)
                y = y if future is None else y + future
                y = self.proj(y.transpose(1, 2)).transpose(1, 2)  # (R, out, H)
            if cfg.channel_independent:
                y = y.squeeze(1)
            else:
                y = y + getattr(self, f"regr{i}")(getattr(self, f"out_res{i}")(trends[i]))
            total = total + y
        return total


# ---------------------------------------------------------------------------------------------------------------- checks


def golden_config(cfg, override, variant):
    c = {**cfg, **override}
    return Config(
        seq_len=c["seq_len"],
        pred_len=c["pred_len"],
        channels=c["N"],
        d_model=c["d_model"],
        d_ff=c["d_ff"],
        e_layers=c["e_layers"],
        scales=c["down_sampling_layers"],
        window=c["window"],
        pooling=c.get("down_sampling_method", "avg"),
        moving_avg=c["moving_avg"],
        dropout=0.0,
        channel_independent=c.get("channel_independence", 1) == 1,
        use_norm=c.get("use_norm", 1) == 1,
        mark_order=c.get("mark_order", "correct"),
        future_marks=c.get("use_future_temporal_feature", 0) == 1,
        decomposition="dft_reference" if c.get("decomp_method") == "dft_decomp" else "moving_avg",
        variant=variant,
    )


def build(cfg, scale, order=None):
    model = TimeMixer(cfg)
    parameters = dict(model.named_parameters())
    own = common.order_of(parameters, model.ordered_names())
    if order is not None:
        assert own == order, "parameter order differs from the golden file's"
    common.load_weights(parameters, own, scale)
    return model


def check_forward(checks, folder, variant):
    with open(os.path.join(folder, "timemixer_golden.json")) as f:
        golden = json.load(f)
    with open(os.path.join(folder, "timemixer_extra_golden.json")) as f:
        extra = json.load(f)["cases"]
    x, mark = torch.tensor(golden["x"]), torch.tensor(golden["mark"])
    future = torch.tensor(extra["future_marks_aligned"]["future_mark"])
    cases = {name: ({}, golden["param_order"], y) for name, y in golden["y"].items()}
    cases |= {name: (c["override"], c.get("param_order", golden["param_order"]), c["y"]) for name, c in extra.items()}
    for name, (override, order, y) in cases.items():
        if "reference_order" in name:
            override = {**override, "mark_order": "reference"}
        cfg = golden_config(golden["cfg"], override, variant)
        model = build(cfg, 0.5, order)
        with torch.no_grad():
            got = model(x, None if "no_marks" in name else mark, future if cfg.future_marks else None)
        checks.near(f"{variant} {name}", got, y, 1e-9)


def check_training(checks, folder, data, variant):
    with open(os.path.join(folder, "timemixer_train_golden.json")) as f:
        golden = json.load(f)
    windows = common.Windows(data, golden["cfg"]["seq_len"], golden["cfg"]["pred_len"], torch.float64)
    size = golden["cfg"]["batch"]
    for name, case in golden["cases"].items():
        override = {"mark_order": "reference"} if "reference" in name else {}
        model = build(golden_config(golden["cfg"], override, variant), 0.5, golden["param_order"])
        optimizer = torch.optim.Adam(model.parameters(), lr=case["max_lr"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, case["max_lr"], total_steps=case["total_steps"], pct_start=0.2)
        parameters = dict(model.named_parameters())

        def loss_of(k):
            x, marks, y = windows.batch(torch.arange(k * size, (k + 1) * size))
            forecast = model(x, None if "no_marks" in name else marks)
            return F.mse_loss(forecast, y), forecast

        losses, rates, betas = [], [], []
        for k in range(len(case["loss"])):
            rates.append(optimizer.param_groups[0]["lr"])
            betas.append(optimizer.param_groups[0]["betas"][0])
            loss, _ = loss_of(k)
            optimizer.zero_grad()
            loss.backward()
            if k == 0:
                for key, want in case["grad_before_step_0"].items():
                    grad = parameters[key].grad
                    assert (grad is None) == (want is None), key
                    if want is not None:
                        checks.near(f"{variant} {name} first gradient {key}", common.sum_and_norm(grad), want, 1e-9, True)
            optimizer.step()
            if k + 1 < case["total_steps"]:
                schedule.step()
            losses.append(loss.item())
        checks.near(f"{variant} {name} rates", rates, case["lr"], 1e-15)
        checks.near(f"{variant} {name} beta1", betas, case["beta1"], 1e-15)
        checks.near(f"{variant} {name} losses", losses, case["loss"], 1e-9, True)
        for key, want in case["params_after_20"].items():
            p = parameters[key].detach()
            got = common.sum_and_norm(p) + [p.flatten()[0].item(), p.flatten()[-1].item()]
            checks.near(f"{variant} {name} after training {key}", got, want, 1e-8, True)
        with torch.no_grad():
            loss, forecast = loss_of(len(case["loss"]))
        want = case["next_batch"]
        checks.near(f"{variant} {name} next batch loss", loss, want["loss"], 1e-9, True)
        checks.near(f"{variant} {name} next batch forecast", forecast[0, :4, 0], want["y_window0_steps0to3_channel0"], 1e-8, True)
        checks.near(f"{variant} {name} next batch sum", forecast.sum(), want["y_sum"], 1e-8, True)


def merged(checks):
    """Per-parameter rows to one row with the largest difference."""
    rows = {}
    for row in checks.rows:
        key = row["check"]
        for part in ("first gradient", "after training"):
            if part in key:
                key = key.split(part)[0] + f"{part}, all parameters"
        best = rows.setdefault(key, {**row, "check": key})
        if row["difference"] >= best["difference"]:
            best["difference"] = row["difference"]
        best["ok"] = best["ok"] and row["ok"]
    checks.rows = list(rows.values())


def check(args):
    torch.set_default_dtype(torch.float64)
    checks = common.Checks()
    for variant in ("plain", "fast", "folded") if args.variant == "all" else (args.variant,):
        check_forward(checks, args.check, variant)
        check_training(checks, args.check, args.data, variant)
    merged(checks)
    checks.finish(args)


# ----------------------------------------------------------------------------------------------------------------- bench


def bench(args):
    dtype = getattr(torch, args.dtype)
    torch.set_default_dtype(dtype)
    cfg = Config(pred_len=args.horizon, dropout=args.dropout, variant=args.variant)
    windows = common.Windows(args.data, cfg.seq_len, cfg.pred_len, dtype)
    order = common.window_order(args.order, windows.count)
    epoch = len(order) // args.batch  # an incomplete last batch is left out
    steps = epoch if args.steps is None else args.steps
    if steps > epoch:
        sys.exit(f"--steps {steps}: {len(order)} windows make {epoch} batches of {args.batch}")
    model = build(cfg, args.scale)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * epoch, pct_start=0.2)
    network = torch.compile(model) if args.compile else model

    def step(n):
        def forward(batch):
            x, marks, y = batch
            return F.mse_loss(network(x, marks), y)

        loss, spent = common.parts(forward, optimizer, lambda: windows.batch(order[n * args.batch : (n + 1) * args.batch]))
        schedule.step()
        return loss, spent

    result = common.train(args, steps, step)
    result["seconds_per_epoch"] = result["total_seconds"] if steps == epoch else None
    result = {
        "rival": "timemixer",
        "variant": args.variant,
        "mode": "compile" if args.compile else "eager",
        "batch": args.batch,
        "horizon": args.horizon,
        "dropout": args.dropout,
        "dtype": args.dtype,
        "init": "sin/sqrt(fan_in)" if args.scale is None else f"{args.scale}*sin",
        "steps_per_epoch": epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        **result,
    }
    common.report(args, result)


def main():
    parser = argparse.ArgumentParser(description="TimeMixer in PyTorch", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", help="ETTh1.csv")
    parser.add_argument("--check", metavar="GOLDENS", help="compare with the golden files in this folder, float64")
    common.bench_arguments(parser)
    common.common_arguments(parser)
    parser.add_argument("--variant", choices=["plain", "fast", "folded", "all"], default="fast", help="all: with --check only")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=0.01, help="peak of the one-cycle rate")
    parser.add_argument("--epochs", type=int, default=10, help="length of the rate's cycle; one epoch is run")
    parser.add_argument("--steps", type=int, help="stop after this many batches (default: the epoch)")
    parser.add_argument("--order", help="text file of window numbers (default: file order)")
    args = parser.parse_args()
    if bool(args.check) == args.bench or (args.bench and args.variant == "all"):
        parser.error("give one of --check GOLDENS and --bench; --variant all is for --check")
    common.start(args)
    check(args) if args.check else bench(args)


if __name__ == "__main__":
    main()
