#!/usr/bin/env python3
"""Train networks on ETTh1 and ETTh2 for every horizon and seed, and write their tables into docs/results.md.

    make results-forecast ETT=folder/with/ETTh1.csv [TABLE=timemixer] [SEEDS=1,2,3] [JOBS=n]

TABLE is timemixer (for every treatment of time features) or karma.

Every run is kept in out/results-forecast/ as the JSON that `shoal forecast eval --json` prints; runs that are there already are not
repeated. JOBS runs at a time, one thread each: the results are the same for any number. Only Python's standard library is used.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess

HORIZONS = (96, 192, 336, 720)
# Wang et al. 2024 (ICLR), unified setting, lookback 96: MSE, MAE.
PUBLISHED = {
    ("etth1", 96): (0.375, 0.400), ("etth1", 192): (0.429, 0.421), ("etth1", 336): (0.484, 0.458), ("etth1", 720): (0.498, 0.482),
    ("etth2", 96): (0.289, 0.341), ("etth2", 192): (0.372, 0.392), ("etth2", 336): (0.386, 0.414), ("etth2", 720): (0.412, 0.434),
}
# KARMA's repository, lookback 96: MSE, MAE.
KARMA = {
    ("etth1", 96): (0.376, 0.396), ("etth1", 192): (0.427, 0.425), ("etth1", 336): (0.473, 0.454), ("etth1", 720): (0.480, 0.479),
    ("etth2", 96): (0.284, 0.333), ("etth2", 192): (0.358, 0.382), ("etth2", 336): (0.404, 0.421), ("etth2", 720): (0.424, 0.441),
}


# How the hourly features of the time stamps are used: options of each column, and the horizons it is made for.
AS_PUBLISHED = ["--time-features", "on", "--compat", "mark-order", "--compat", "drop-last=128"]
TREATMENTS = {
    "none": ([], HORIZONS),
    "published": (AS_PUBLISHED, HORIZONS),
    "test": ([*AS_PUBLISHED, "--compat", "test-selection"], (720,)),
    "right": (["--time-features", "on"], (96,)),
}


def run(shoal, out, data, preset, model, horizon, seed, treatment):
    """One evaluation; its JSON from the cache when it has been run before."""
    file = out / f"{preset}-{model}-{horizon}-{seed}-{treatment}.json"
    if file.exists():
        return json.loads(file.read_text())
    # The published loader drops the last partial batch, whose size is the script's.
    extra = [o.replace("=128", "=16") if preset == "etth2" else o for o in TREATMENTS[treatment][0]]
    command = [shoal, "forecast", "eval", data / f"{preset.replace('ett', 'ETT')}.csv", "--preset", preset, "-m", model, "-H", horizon]
    command += ["--seed", seed, "--threads", 1, "--json", "-q", *extra]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(process.args)} ended with {process.returncode}")
    result = json.loads(text)
    # Processor time: what else the machine does leaves it nearly alone.
    result["seconds"] = usage.ru_utime + usage.ru_stime
    result["mib"] = usage.ru_maxrss / 1024
    whole = file.with_suffix(".part")
    whole.write_text(json.dumps(result))
    whole.rename(file)
    print(f"{file.stem}: mse {mse(result):.4f}, {result['seconds']:.0f} s, {result['mib']:.0f} MiB", flush=True)
    return result


def metrics(result):
    return result["cases"][0]


def mse(result):
    return metrics(result)["mse"]


def verdict(name, value, published):
    gap = value - published
    place = "at" if abs(gap) < 5e-4 else "below" if gap < 0 else "above"
    return f"{name} {place} the paper ({gap:+.3f})"


def table(shoal, out, data, seeds, jobs):
    cells = [(preset, horizon) for preset in ("etth1", "etth2") for horizon in HORIZONS]
    tasks = [
        (preset, "timemixer", h, seed, t)
        for t, (_, horizons) in TREATMENTS.items() for preset, h in cells if h in horizons for seed in seeds
    ]
    tasks += [(preset, model, h, 0, "none") for preset, h in cells for model in ("linear", "nlinear")]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = dict(zip(tasks, pool.map(lambda task: run(shoal, out, data, *task), tasks)))
    lines = [
        "| data | H | published MSE / MAE | preset (no calendar) | as published | as published, epoch by test loss | calendar in the right rows | linear, exact | nlinear, exact | CPU seconds a run | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for preset, horizon in cells:
        columns, means, seconds = [], {}, []
        for t, (_, horizons) in TREATMENTS.items():
            if horizon not in horizons:
                columns.append("")
                continue
            runs = [results[preset, "timemixer", horizon, seed, t] for seed in seeds]
            values = [mse(r) for r in runs]
            means[t] = statistics.mean(values)
            spread = (max(values) - min(values)) / 2
            columns.append(f"{means[t]:.4f} ± {spread:.4f} / {statistics.mean(metrics(r)['mae'] for r in runs):.4f}")
            seconds += [r["seconds"] for r in runs]
        lin, nlin = (mse(results[preset, model, horizon, 0, "none"]) for model in ("linear", "nlinear"))
        published = PUBLISHED[preset, horizon]
        against = "better than" if means["none"] < min(lin, nlin) else "worse than"
        name = preset.replace("ett", "ETT")
        lines.append(
            f"| {name} | {horizon} | {published[0]:.3f} / {published[1]:.3f} | {' | '.join(columns)} | {lin:.4f} | {nlin:.4f} "
            f"| {statistics.mean(seconds):.0f} | {verdict('preset', means['none'], published[0])}, {against} the better linear map; "
            f"{verdict('as published', means['published'], published[0])}"
            f"{'; ' + verdict('by test loss', means['test'], published[0]) if 'test' in means else ''} |"
        )
    return lines


def karma(shoal, out, data, seeds, jobs):
    cells = [(preset, horizon) for horizon in HORIZONS for preset in ("etth1", "etth2")]
    tasks = [(preset, "karma", h, seed, "none") for seed in seeds for preset, h in cells]
    tasks += [(preset, model, h, 0, "none") for preset, h in cells for model in ("linear", "nlinear")]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = dict(zip(tasks, pool.map(lambda task: run(shoal, out, data, *task), tasks)))
    lines = [
        "| data | H | published MSE / MAE | preset | linear, exact | nlinear, exact | CPU seconds a run | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for preset, horizon in sorted(cells):
        runs = [results[preset, "karma", horizon, seed, "none"] for seed in seeds]
        values = [mse(r) for r in runs]
        mean, spread = statistics.mean(values), (max(values) - min(values)) / 2
        mae = statistics.mean(metrics(r)["mae"] for r in runs)
        lin, nlin = (mse(results[preset, model, horizon, 0, "none"]) for model in ("linear", "nlinear"))
        published = KARMA[preset, horizon]
        against = "better than" if mean < min(lin, nlin) else "worse than"
        shown = f"{mean:.4f} ± {spread:.4f}" if len(values) > 1 else f"{mean:.4f}"
        lines.append(
            f"| {preset.replace('ett', 'ETT')} | {horizon} | {published[0]:.3f} / {published[1]:.3f} | {shown} / {mae:.4f} | {lin:.4f} | {nlin:.4f} "
            f"| {statistics.mean(r['seconds'] for r in runs):.0f} | {verdict('it is', mean, published[0])}, {against} the better linear map |"
        )
    return lines


TABLES = {"timemixer": table, "karma": karma}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shoal", required=True)
    parser.add_argument("--table", choices=TABLES, default="timemixer")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/results-forecast"))
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/results.md"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(s) for s in args.seeds.split(",")]
    lines = TABLES[args.table](args.shoal, args.out, args.data, seeds, args.jobs)
    begin, end = (f"<!-- {args.table}: {edge} -->" for edge in ("begin", "end"))
    page = args.page.read_text()
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    args.page.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after)


if __name__ == "__main__":
    main()
