"""shoal and statsforecast on the same series, on equal threads: answers first, then times.

    python compare.py SHOAL SERIES.csv [THREADS]

Answers: auto-ets and auto-arima by the AICc of the selected model (the same definition in both programs; ARIMA only where both
took the same differences), auto-theta by the sum of squared errors of the selected model. Times: shoal's whole process (start,
reading, fitting, forecasting, writing) against statsforecast's fit and forecast alone, after its import and one warm-up fit.
Each is run three times, in turn, and the median is quoted.
"""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import AutoARIMA, AutoETS, AutoTheta

SHOAL, SERIES = sys.argv[1], sys.argv[2]
THREADS = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
H, M, REPEATS = 12, 12, 3
MODELS = {"auto-ets": AutoETS, "auto-arima": AutoARIMA, "auto-theta": AutoTheta}


def ours(model):
    with tempfile.TemporaryDirectory() as d:
        start = time.perf_counter()
        subprocess.run(
            [SHOAL, "forecast", "predict", SERIES, "-m", model, "-H", str(H), "--season", str(M), "--threads", str(THREADS)]
            + ["-q", "-o", f"{d}/f.csv", "--fits", f"{d}/fits.csv"],
            check=True,
        )
        elapsed = time.perf_counter() - start
        with open(f"{d}/fits.csv", newline="") as f:
            return elapsed, {r["unique_id"]: r for r in csv.DictReader(f)}


def theirs(model, df):
    sf = StatsForecast(models=[MODELS[model](season_length=M)], freq="MS", n_jobs=THREADS)
    start = time.perf_counter()
    sf.fit(df)
    sf.predict(h=H)
    elapsed = time.perf_counter() - start
    return elapsed, {uid: row[0].model_ for uid, row in zip(sf.uids, sf.fitted_)}


def ours_differences(form):
    parts = [p.split(",")[1] for p in form.replace(")", "(").split("(") if p.count(",") == 2]
    return tuple(int(p) for p in parts) + (0,) * (2 - len(parts))


def answers(model, a, b):
    """(series, our value, their value) where the two can be compared; smaller is better."""
    rows, apart = [], 0
    for uid, fit in a.items():
        other = b[uid]
        if model == "auto-ets":
            rows.append((uid, float(fit["aicc"]), float(other["aicc"])))
        elif model == "auto-arima":
            arma = other["arma"]
            if ours_differences(fit["form"]) == (arma[5], arma[6]):
                rows.append((uid, float(fit["aicc"]), float(other["aicc"])))
            else:
                apart += 1
        else:
            n = int(fit["n"])
            estimated = {"STM": 2, "OTM": 3, "DSTM": 2, "DOTM": 3}[fit["form"].split(",")[0].strip()]
            rows.append((uid, float(fit["sigma2"]) * (n - 3 - estimated), other["mse"] * other["mean_y"]))
    return rows, apart


def main():
    df = pd.read_csv(SERIES, parse_dates=["ds"])
    print(f"{df.unique_id.nunique()} series, {len(df)} observations, {THREADS} threads")
    for model in MODELS:
        theirs(model, df[df.unique_id == df.unique_id.iloc[0]])  # warm-up
        t_ours, t_theirs = [], []
        for _ in range(REPEATS):
            t, a = ours(model)
            t_ours.append(t)
            t, b = theirs(model, df)
            t_theirs.append(t)
        rows, apart = answers(model, a, b)
        gap = np.array([x - y for _, x, y in rows])
        scale = np.array([max(1.0, abs(y)) for _, _, y in rows])
        worse = [(u, x, y) for (u, x, y), g, s in zip(rows, gap, scale) if g > 1e-6 * s]
        what = "sum of squared errors" if model == "auto-theta" else "AICc"
        print(f"\n{model}: {what}, ours minus theirs over {len(rows)} series: best {gap.min():.4g}, median {np.median(gap):.4g}, worst {gap.max():.4g}")
        if apart:
            print(f"  {apart} series not comparable: the programs took different differences")
        print(f"  ours is better or equal on {len(rows) - len(worse)} of {len(rows)}")
        for u, x, y in worse[:10]:
            print(f"  WORSE on {u}: {x:.6f} against {y:.6f}")
        o, t = statistics.median(t_ours), statistics.median(t_theirs)
        print(f"  time: ours {o:.3f} s, theirs {t:.3f} s, ratio {t / o:.1f} (runs {min(t_ours):.3f}-{max(t_ours):.3f}, {min(t_theirs):.3f}-{max(t_theirs):.3f})")


if __name__ == "__main__":
    main()
