"""Runs the same training steps and single operations in shoal and in PyTorch, on equal weights and batches: answers first, then times.

    python compare_training.py OUR_BENCH ETTh1.csv [--threads 2] [--rounds 3] [--steps 20] [--op-rounds 30]

The programs take turns; of several ways to write a PyTorch model the fastest counts. Memory is what the steps add to a process that
has its libraries loaded.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Largest relative difference of the first 20 losses, f32 against f32: the programs add in other orders.
TOLERANCE = 1e-3
# Largest difference of the norm of a result or gradient, relative.
NORM_TOLERANCE = 1e-4


def run(command):
    """The JSON objects a program prints, one a line."""
    out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def compare_steps(args):
    t, n = args.threads, args.steps
    torch = lambda script, *rest: [sys.executable, HERE / script, *rest, "--bench", "--steps", n, "--threads", t, "--json"]
    cases = {
        "mixer": (["mixer"], [torch("torch_mixer.py", "--layout", "width-last"), torch("torch_mixer.py", "--layout", "time-last")]),
        "timemixer": (
            ["timemixer", args.etth1, "--dropout", 0],
            [torch("torch_timemixer.py", args.etth1, "--dropout", 0, "--variant", v) for v in ("plain", "fast", "folded")],
        ),
    }
    agree = True
    for name, (ours, theirs) in cases.items():
        ways = [[] for _ in theirs]
        us = []
        for _ in range(args.rounds):
            us += run([args.ours, *ours, "--steps", n, "--threads", t])
            for way, command in zip(ways, theirs):
                way += run(command)
        median = lambda way: min(r["seconds_per_step"]["median"] for r in way)
        best = min(ways, key=median)
        worst = max(abs(x - y) / abs(y) for x, y in zip(us[0]["losses"], best[0]["losses"]))
        agree &= worst <= TOLERANCE
        our_median, their_median = min(r["median_ms"] for r in us), 1e3 * median(best)
        our_least, their_least = min(r["min_ms"] for r in us), 1e3 * min(r["seconds_per_step"]["min"] for r in best)
        print(f"{name}: losses of the first steps differ by at most {worst:.1e} (relative)")
        print(f"  ours    {our_median:8.1f} ms a step (fastest {our_least:.1f}), whole process {us[0]['peak_rss_mib']:.0f} MiB")
        added = best[0]["peak_rss_mib"] - best[0]["rss_before_mib"]
        print(f"  PyTorch {their_median:8.1f} ms a step (fastest {their_least:.1f}), steps add {added:.0f} MiB to {best[0]['rss_before_mib']:.0f}")
        print(f"  ratio   {their_median / our_median:8.2f}", flush=True)
    return agree


def compare_ops(args):
    ours = run([args.ours, "ops", "--steps", args.op_rounds, "--threads", args.threads])
    theirs = {r["op"]: r for r in run([sys.executable, HERE / "torch_ops.py", "--rounds", args.op_rounds, "--threads", args.threads])}
    agree = True
    print(f"\n{'median ms':58} {'forward':>18} {'with gradients':>18}  {'':>6}")
    print(f"{'operation':58} {'ours':>9}{'PyTorch':>9} {'ours':>9}{'PyTorch':>9}  ratio")
    for a in ours:
        b = theirs[a["op"]]
        # Norms, not sums: many sums are of numbers that cancel.
        worst = max(abs(x[1] - y[1]) / abs(y[1]) for x, y in zip(a["digests"], b["digests"], strict=True))
        agree &= worst <= NORM_TOLERANCE
        note = "" if worst <= NORM_TOLERANCE else f"  DIFFERS by {worst:.1e}"
        (af, ab), (bf, bb) = ((r["forward_ms"][0], r["both_ms"][0]) for r in (a, b))
        print(f"{a['op']:58} {af:9.2f}{bf:9.2f} {ab:9.2f}{bb:9.2f}  {bb / ab:5.2f}{note}")
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours")
    parser.add_argument("etth1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--op-rounds", type=int, default=30)
    args = parser.parse_args()
    agree = compare_steps(args)
    agree &= compare_ops(args)
    if not agree:
        sys.exit("the answers do not agree")


if __name__ == "__main__":
    main()
