"""What the PyTorch rivals share: repeatable weights, ETTh1 windows, measuring, reports and golden checks.

Weights. Parameter i of the ordered list, element k (row-major), is made from sin(1.7 k + 0.3 i + 0.5) in float64:

    goldens   scale * sin(...), plus 1 for norm weights (they scale something)
    default   sin(...) / sqrt(fan_in), the bound PyTorch draws its uniform start from; a bias takes the fan_in of its layer,
              norm weights are 1 and norm biases 0, the positional table is 0.02 * sin(...)
"""

import csv
import datetime
import json
import math
import os
import platform
import statistics
import sys
import time

import numpy as np
import torch


# ---------------------------------------------------------------------------------------------------------------- weights


def sine(shape, index):
    """sin(1.7 k + 0.3 index + 0.5) for the row-major element number k, float64."""
    k = np.arange(math.prod(shape), dtype=np.float64)
    return np.sin(1.7 * k + 0.3 * index + 0.5).reshape(shape)


def fan_in(shape):
    """Inputs that reach one output: Linear (out, in) and Conv1d (out, in, k)."""
    return math.prod(shape[1:])


def formula_weights(order, scale=None):
    """name -> float64 array for [(index, name, shape)]; `scale` None is the default rule of the module text."""
    shapes = {name: shape for _, name, shape in order}
    weights = {}
    for index, name, shape in order:
        wave = sine(shape, index)
        norm = "norm" in name
        if scale is not None:
            value = scale * wave + (1.0 if norm and name.endswith("weight") else 0.0)
        elif norm:
            value = np.full(shape, 1.0 if name.endswith("weight") else 0.0)
        elif name == "embed.pos":
            value = 0.02 * wave
        else:
            layer = name.rsplit(".", 1)[0] + ".weight"
            value = wave / math.sqrt(fan_in(shapes[layer]))
        weights[name] = value
    return weights


def load_weights(parameters, order, scale=None):
    """Overwrites the named parameters, which must be exactly those of the order."""
    weights = formula_weights(order, scale)
    assert sorted(weights) == sorted(parameters), sorted(set(weights) ^ set(parameters))
    with torch.no_grad():
        for name, p in parameters.items():
            assert tuple(p.shape) == tuple(weights[name].shape), (name, p.shape, weights[name].shape)
            p.copy_(torch.from_numpy(weights[name]))


def order_of(parameters, names):
    """[index, name, shape] for the golden files, in the order of `names`."""
    assert sorted(names) == sorted(parameters), sorted(set(names) ^ set(parameters))
    return [[i, name, list(parameters[name].shape)] for i, name in enumerate(names)]


# ---------------------------------------------------------------------------------------------------------------- blocks


class RevIN(torch.nn.Module):
    """Instance normalisation over time (B, T, N), population variance, statistics without gradient; `invert` undoes it."""

    EPS = 1e-5

    def __init__(self, channels, affine=True):
        super().__init__()
        self.affine = affine
        if affine:
            self.weight = torch.nn.Parameter(torch.ones(channels))
            self.bias = torch.nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        var, mean = torch.var_mean(x.detach(), dim=1, keepdim=True, correction=0)
        std = torch.sqrt(var + self.EPS)
        z = (x - mean) / std
        return z * self.weight + self.bias if self.affine else z, (mean, std)

    def invert(self, y, statistics):
        mean, std = statistics
        if self.affine:
            y = (y - self.bias) / (self.weight + self.EPS * self.EPS)
        return y * std + mean


# ------------------------------------------------------------------------------------------------------------------ data


def read_ett(path):
    """(dates, values (rows, channels) float64) of an ETT file."""
    with open(path, newline="") as f:
        rows = csv.reader(f)
        next(rows)
        records = list(rows)
    dates = [datetime.datetime.strptime(r[0], "%Y-%m-%d %H:%M:%S") for r in records]
    return dates, np.array([[float(v) for v in r[1:]] for r in records])


def hourly_marks(dates):
    """(rows, 4): hour, day of the week, day of the month, day of the year, each within [-0.5, 0.5]."""
    rows = [[d.hour / 23, d.weekday() / 6, (d.day - 1) / 30, (d.timetuple().tm_yday - 1) / 365] for d in dates]
    return np.array(rows) - 0.5


class Windows:
    """Stride-1 windows over the scaled training rows of ETTh1 or ETTh2 (the first 12 months of 30 days).

    Each channel is scaled by the mean and population standard deviation of the training rows. The series is kept once; a batch
    is gathered from it by index.
    """

    TRAIN = 12 * 30 * 24

    def __init__(self, path, lookback, horizon, dtype):
        dates, values = read_ett(path)
        values, dates = values[: self.TRAIN], dates[: self.TRAIN]
        std = values.std(axis=0)
        std[std == 0] = 1
        scaled = (values - values.mean(axis=0)) / std
        self.series = torch.from_numpy(scaled).to(dtype)
        self.marks = torch.from_numpy(hourly_marks(dates)).to(dtype)
        self.past = torch.arange(lookback)
        self.future = torch.arange(lookback, lookback + horizon)
        self.count = len(values) - lookback - horizon + 1

    def batch(self, starts):
        """starts (b,) -> past (b, lookback, channels), marks (b, lookback, 4), target (b, horizon, channels)."""
        rows = starts[:, None]
        return self.series[rows + self.past], self.marks[rows + self.past], self.series[rows + self.future]


def window_order(path, count):
    """Window numbers in file order, or as listed in a text file (numbers apart by white space)."""
    if path is None:
        return torch.arange(count)
    with open(path) as f:
        order = [int(word) for word in f.read().split()]
    if not order or min(order) < 0 or max(order) >= count:
        sys.exit(f"{path}: window numbers must lie in 0..{count - 1}")
    return torch.tensor(order)


# ------------------------------------------------------------------------------------------------------------- measuring


def common_arguments(parser):
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads PyTorch may use")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def bench_arguments(parser):
    parser.add_argument("--bench", action="store_true", help="train and time")
    parser.add_argument("--warmup", type=int, default=2, help="first steps left out of the times; losses keep them")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--scale", type=float, help="formula weights scale*sin(...) instead of sin(...)/sqrt(fan_in)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model (needs a C++ compiler)")


def start(args):
    """Applies the process-wide settings; call before any tensor work."""
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(1)


def memory(field):
    """MiB of VmRSS (now) or VmHWM (peak) of this process; None where /proc does not say."""
    try:
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith(field))
    except (OSError, StopIteration):
        return None


def versions():
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "threads": torch.get_num_threads(),
        "machine_threads": os.cpu_count(),
    }


def summary(seconds):
    return {"median": statistics.median(seconds), "min": min(seconds)} if seconds else None


def parts(forward, optimizer, batch):
    """One training step in its three parts, each a function without arguments; forward gives the loss."""
    x = batch()
    t0 = time.perf_counter()
    loss = forward(x)
    t1 = time.perf_counter()
    loss.backward()
    t2 = time.perf_counter()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss, (t1 - t0, t2 - t1, time.perf_counter() - t2)


def train(args, steps, step):
    """Runs step(n) -> (loss tensor, (forward, backward, optimizer) seconds) and reports losses, times and memory.

    A step's time holds everything it does, the gathering of its batch included. `cpu` is processor time over all threads, the
    steadier number on a machine that is not quiet.
    """
    before = memory("VmRSS")
    losses, wall, cpu, split = [], [], [], []
    begin = time.perf_counter()
    for n in range(steps):
        c0, t0 = time.process_time(), time.perf_counter()
        loss, spent = step(n)
        losses.append(loss.item())
        t1 = time.perf_counter()
        wall.append(t1 - t0)
        cpu.append(time.process_time() - c0)
        split.append(spent)
    total = time.perf_counter() - begin
    kept = slice(min(args.warmup, steps - 1), None)
    forward, backward, optimizer = zip(*split[kept])
    return {
        "steps": steps,
        "losses": losses[:20],
        "last_loss": losses[-1],
        "seconds_per_step": summary(wall[kept]),
        "cpu_seconds_per_step": summary(cpu[kept]),
        "forward_seconds": summary(forward),
        "backward_seconds": summary(backward),
        "optimizer_seconds": summary(optimizer),
        "first_step_seconds": wall[0],
        "total_seconds": total,
        "rss_before_mib": before,
        "peak_rss_mib": memory("VmHWM"),
        "versions": versions(),
    }


def report(args, result):
    """One JSON object, or the same as lines of text."""
    if args.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = " ".join(f"{v:.9g}" if isinstance(v, float) else str(v) for v in value)
        elif isinstance(value, float):
            value = f"{value:.6g}"
        print(f"{key}: {value}")


# ---------------------------------------------------------------------------------------------------------------- checks


class Checks:
    """Named comparisons; `finish` reports them and leaves with exit code 1 when one failed."""

    def __init__(self):
        self.rows = []

    def near(self, name, got, want, tolerance, relative=False):
        """Largest difference, against max(1, |want|) each when relative; NaN fails."""
        got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
        assert got.shape == want.shape, (name, got.shape, want.shape)
        gap = np.abs(got - want) / (np.maximum(1.0, np.abs(want)) if relative else 1.0)
        worst = float(np.max(gap)) if gap.size else 0.0
        self.rows.append({"check": name, "difference": worst, "tolerance": tolerance, "ok": bool(worst <= tolerance)})

    def finish(self, args):
        ok = all(row["ok"] for row in self.rows)
        if args.json:
            print(json.dumps({"ok": ok, "checks": self.rows}))
        else:
            for row in self.rows:
                print(f"{'ok  ' if row['ok'] else 'FAIL'} {row['check']}: {row['difference']:.3g} (tolerance {row['tolerance']:g})")
        sys.exit(0 if ok else 1)


def sum_and_norm(tensor):
    """[sum, L2 norm], how the golden files keep a gradient."""
    return [tensor.sum().item(), tensor.pow(2).sum().sqrt().item()]
