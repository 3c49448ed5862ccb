"""Trains the same networks in shoal and in PyTorch, from equal weights on equal batches: losses first, then times.

    python compare_training.py OUR_BENCH ETTh1.csv [--threads 2] [--rounds 3] [--steps 20]
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Largest relative difference of the first 20 losses, f32 against f32: the programs add in other orders.
TOLERANCE = 1e-3


def run(command):
    """The JSON object a program prints."""
    out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
    return json.loads(out[out.index("{") :])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ours")
    parser.add_argument("etth1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    t, n = args.threads, args.steps
    cases = {
        "mixer": (
            [args.ours, "mixer", "--steps", n, "--threads", t],
            [sys.executable, HERE / "torch_mixer.py", "--bench", "--steps", n, "--threads", t, "--json"],
        ),
        "timemixer": (
            [args.ours, "timemixer", args.etth1, "--dropout", 0, "--steps", n, "--threads", t],
            [sys.executable, HERE / "torch_timemixer.py", args.etth1, "--bench", "--dropout", 0, "--steps", n, "--threads", t, "--json"],
        ),
    }
    failed = False
    for name, (ours, theirs) in cases.items():
        rows = [(run(ours), run(theirs)) for _ in range(args.rounds)]
        a, b = rows[0]
        worst = max(abs(x - y) / abs(y) for x, y in zip(a["losses"], b["losses"]))
        failed |= not worst <= TOLERANCE
        us, them = min(r[0]["median_ms"] for r in rows), 1e3 * min(r[1]["seconds_per_step"]["median"] for r in rows)
        least = min(r[0]["min_ms"] for r in rows), 1e3 * min(r[1]["seconds_per_step"]["min"] for r in rows)
        print(f"{name}: losses of the first steps differ by at most {worst:.1e} (relative)")
        print(f"  ours    {us:8.1f} ms a step (fastest {least[0]:.1f}), peak {a['peak_rss_mib']:.0f} MiB")
        print(f"  PyTorch {them:8.1f} ms a step (fastest {least[1]:.1f}), peak {b['peak_rss_mib']:.0f} MiB")
        print(f"  ratio   {them / us:8.2f}")
    if failed:
        sys.exit("the losses do not agree")


if __name__ == "__main__":
    main()
