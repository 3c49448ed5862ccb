"""Monthly series for the comparison with statsforecast: bundled classics and bootstrap variants of them.

A variant (Bergmeir, Hyndman & Benitez 2016): log the series, split it into trend, season and remainder by classical
decomposition, draw the remainder anew in moving blocks of 24 months, add up, exponentiate, and keep a random stretch of 96 to
200 months. Seeded: the same file every time.

    python make_series.py OUT.csv [VARIANTS]
"""

import csv
import datetime
import sys

import numpy as np

DATA = "testdata/classic"
M = 12


def read(name, column):
    with open(f"{DATA}/{name}", newline="") as f:
        return [row[column] for row in csv.DictReader(f)]


def classics():
    yield "air", np.array(read("air_passengers.csv", "y"), float)
    yield "elec", np.array(read("elec_equip.csv", "STS.M.I7.W.TOVT.NS0016.4.000"), float)
    months = {}
    with open(f"{DATA}/co2.csv", newline="") as f:
        for row in csv.DictReader(f):
            if row["co2"]:
                months.setdefault(row["date"][:6], []).append(float(row["co2"]))
    # From 1965 on no month is without a week.
    yield "co2", np.array([np.mean(v) for k, v in sorted(months.items()) if k >= "196501"])


def variant(y, rng):
    x = np.log(y)
    weights = np.ones(M + 1)
    weights[[0, -1]] = 0.5
    trend = np.convolve(x, weights / M, mode="same")
    half = M // 2
    slope = np.arange(half, 0, -1)
    trend[:half] = trend[half] - slope * (trend[half + 1] - trend[half])
    trend[-half:] = trend[-half - 1] + slope[::-1] * (trend[-half - 1] - trend[-half - 2])
    season = np.array([np.mean((x - trend)[i::M]) for i in range(M)])
    season -= season.mean()
    season = season[np.arange(len(x)) % M]
    rest = x - trend - season
    block = 2 * M
    starts = rng.integers(0, len(x) - block + 1, size=len(x) // block + 2)
    drawn = np.concatenate([rest[s : s + block] for s in starts])
    offset = rng.integers(0, block)
    new = np.exp(trend + season + drawn[offset : offset + len(x)])
    length = int(rng.integers(96, min(200, len(x)) + 1))
    start = int(rng.integers(0, len(x) - length + 1))
    return new[start : start + length]


def main():
    out, variants = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40
    rng = np.random.default_rng(20)
    with open(out, "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["unique_id", "ds", "y"])
        for name, y in classics():
            for k in range(variants + 1):
                values = y if k == 0 else variant(y, rng)
                for t, v in enumerate(values):
                    w.writerow([f"{name}-{k}", datetime.date(1980 + t // M, 1 + t % M, 1).isoformat(), f"{v:.6g}"])


if __name__ == "__main__":
    main()
