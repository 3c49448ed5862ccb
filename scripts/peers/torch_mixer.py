"""The MLP mixer of the training-core comparison in PyTorch.

    python torch_mixer.py --bench --steps 20 --threads 2 --json
    python torch_mixer.py --check                             gradients against central differences, float64, small shapes

x (R, T, D) = (896, 96, 16). Each of 4 blocks:

    x = x + transpose(Linear48->96(Linear48->48(GELU(Linear96->48(transpose(x))))))     along time
    x = x + Linear32->16(GELU(Linear16->32(x)))                                         along channels

GELU is the exact one (erf). Loss: mean squared error against a fixed target of the same shape. AdamW, rate 1e-3, decay 0.01,
betas 0.9 and 0.999, eps 1e-8, decay on every parameter.

Everything is repeatable without a file: element i (row-major, float64, then rounded) of x is sin(0.1 i), of the target
cos(0.07 i); weights by the rule of torch_common. Parameter order, block b: b.time.0, b.time.2, b.time.3, b.channel.0, b.channel.2,
each weight then bias, with the names block{b}.time.0.weight and so on.
"""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import torch_common as common


class Block(nn.Module):
    def __init__(self, length, width):
        super().__init__()
        half = length // 2
        self.time = nn.Sequential(nn.Linear(length, half), nn.GELU(), nn.Linear(half, half), nn.Linear(half, length))
        self.channel = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):  # (R, T, D)
        x = x + self.time(x.transpose(1, 2)).transpose(1, 2)
        return x + self.channel(x)


class TimeLastBlock(Block):
    """The same on (R, D, T): the transposes move from the time layers to the cheaper channel layers."""

    def forward(self, x):
        x = x + self.time(x)
        return x + self.channel(x.transpose(1, 2)).transpose(1, 2)


class Mixer(nn.Module):
    def __init__(self, length, width, blocks, layout):
        super().__init__()
        self.layout, self.blocks = layout, blocks
        for b in range(blocks):
            self.add_module(f"block{b}", (TimeLastBlock if layout == "time-last" else Block)(length, width))

    def forward(self, x):  # (R, T, D) -> (R, T, D)
        x = x.transpose(1, 2).contiguous() if self.layout == "time-last" else x
        for b in range(self.blocks):
            x = getattr(self, f"block{b}")(x)
        return x.transpose(1, 2) if self.layout == "time-last" else x


def build(shape, blocks, scale, layout):
    model = Mixer(shape[1], shape[2], blocks, layout)
    parameters = dict(model.named_parameters())
    common.load_weights(parameters, common.order_of(parameters, list(parameters)), scale)
    return model


def inputs(shape, dtype):
    i = np.arange(np.prod(shape), dtype=np.float64)
    return (torch.from_numpy(wave.reshape(shape)).to(dtype) for wave in (np.sin(0.1 * i), np.cos(0.07 * i)))


def check(args):
    torch.set_default_dtype(torch.float64)
    shape, checks = (3, 6, 4), common.Checks()
    x, target = inputs(shape, torch.float64)
    outputs = {}
    for layout in ("time-last", "width-last"):
        model = build(shape, 2, 0.5, layout)
        outputs[layout] = model(x)
        loss = F.mse_loss(outputs[layout], target)
        loss.backward()
        for name, p in model.named_parameters():
            flat, grad = p.data.view(-1), p.grad.reshape(-1)
            for k in range(0, flat.numel(), max(1, flat.numel() // 3)):
                old, ends = flat[k].item(), []
                for h in (1e-5, -1e-5):
                    flat[k] = old + h
                    with torch.no_grad():
                        ends.append(F.mse_loss(model(x), target).item())
                flat[k] = old
                # Central differences: truncation about 1e-10, cancellation about 1e-16 / 1e-5.
                checks.near(f"{layout} gradients", grad[k], (ends[0] - ends[1]) / 2e-5, 1e-8)
    checks.near("layouts agree", outputs["time-last"].detach(), outputs["width-last"].detach(), 1e-13)
    best = {}
    for row in checks.rows:
        if row["difference"] >= best.get(row["check"], row)["difference"]:
            best[row["check"]] = row
    checks.rows = list(best.values())
    checks.finish(args)


def bench(args):
    dtype = getattr(torch, args.dtype)
    torch.set_default_dtype(dtype)
    x, target = inputs(args.shape, dtype)
    model = build(args.shape, args.blocks, args.scale, args.layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    network = torch.compile(model) if args.compile else model

    def step(_):
        return common.parts(lambda batch: F.mse_loss(network(batch), target), optimizer, lambda: x)

    result = {
        "rival": "mixer",
        "layout": args.layout,
        "mode": "compile" if args.compile else "eager",
        "shape": list(args.shape),
        "blocks": args.blocks,
        "dtype": args.dtype,
        "init": "sin/sqrt(fan_in)" if args.scale is None else f"{args.scale}*sin",
        "parameters": sum(p.numel() for p in model.parameters()),
        **common.train(args, args.steps, step),
    }
    common.report(args, result)


def main():
    parser = argparse.ArgumentParser(description="MLP mixer in PyTorch", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--check", action="store_true", help="gradients against central differences")
    common.bench_arguments(parser)
    common.common_arguments(parser)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--shape", type=int, nargs=3, default=[896, 96, 16], metavar=("R", "T", "D"))
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--layout", choices=["time-last", "width-last"], default="width-last", help="how activations lie in memory")
    args = parser.parse_args()
    if args.check == args.bench:
        parser.error("give one of --check and --bench")
    common.start(args)
    check(args) if args.check else bench(args)


if __name__ == "__main__":
    main()
