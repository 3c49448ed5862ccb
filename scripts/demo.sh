#!/bin/sh
# The main job on bundled real data: tables on screen, pictures and a run directory under $OUT.
set -eu
OUT=${OUT:-out}
DATA=${DATA:-testdata/classic}
target=$(${CARGO:-cargo} metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
shoal="$target/release/shoal"
mkdir -p "$OUT"

show() {
    printf '\n$ shoal %s\n' "$*"
    "$shoal" "$@"
}

show forecast predict "$DATA/air_passengers.csv" -m auto-ets,auto-arima -H 12 --level 80,95 --format table \
    --plot "$OUT/air_passengers.png" --run-dir "$OUT/run" --force
show forecast backtest "$DATA/air_passengers.csv" -m auto-ets,auto-arima,auto-theta,seasonal-naive -H 12 --windows 3 --by model --format table \
    --plot "$OUT/backtest.png"
show forecast predict "$DATA/elec_equip.csv" -m auto-theta,auto-ets -H 24 --level 80 --format table --plot "$OUT/elec_equip.svg" -o "$OUT/elec_equip.csv"
show forecast predict "$DATA/nile.csv" "$DATA/sunspots.csv" -m auto-arima -H 10 --level 80,95 --plot "$OUT/panel.png" -o "$OUT/panel.parquet"
show forecast eval --synthetic etth --preset etth1 -m naive,seasonal-naive,linear,nlinear -H 96,192 --format table --plot "$OUT/eval.png"
show forecast predict --config "$OUT/run/manifest.json" --run-dir "$OUT/again" --force -q -o "$OUT/again.csv"
cmp "$OUT/run/forecast.csv" "$OUT/again/forecast.csv" && printf '\nthe run repeated from its manifest, byte for byte\n'
show cluster points testdata/cluster/uci-small/iris.csv -m gmm -k 3 -o "$OUT/iris_labels.csv" --plot "$OUT/iris.png"
show cluster graph testdata/cluster/karate/edges.csv --truth testdata/cluster/karate/labels.csv -o "$OUT/karate_labels.csv" --plot "$OUT/karate.png"
printf 'pictures, tables and the run directory are in %s/\n' "$OUT"
