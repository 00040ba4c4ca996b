#!/bin/sh
# Makes a Debian machine a node for lulc: /opt/lulc with a Python environment, Spark with the JARs it needs, jobs/
# and conf/. The image is made by this script alone (Dockerfile), and a bare node is made ready by it:
#
#   sudo conf/image/install.sh            # from a checkout; the same again after an upgrade
#   sudo TORCH=cpu conf/image/install.sh
#
# TORCH   cuda   as requirements.txt has it, for NVIDIA GPUs and without (5 GB)
#         cpu    the build without CUDA, from PyTorch's own index; its hashes are not in requirements.txt
#         none   no torch: every stage but samples, train, predict and evaluate
# PREFIX  where to (default /opt/lulc)
#
# Python 3.12 is taken from the machine; where it has none, uv fetches one (a download from GitHub).
set -eu
torch=${TORCH:-cuda}
prefix=${PREFIX:-/opt/lulc}
source=$(cd "$(dirname "$0")/../.." && pwd)
case $torch in cuda|cpu|none) ;; *) echo "TORCH=$torch: cuda, cpu or none" >&2; exit 2 ;; esac

cd "$source"  # uv reads its settings in pyproject.toml

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Java 17, or 21 where Debian has no 17 any more; libexpat1 is loaded by rasterio's wheel, tini ends what an executor leaves.
apt-get install -q -y --no-install-recommends ca-certificates python3-venv libexpat1 libgomp1 procps tini
apt-get install -q -y --no-install-recommends openjdk-17-jre-headless ||
  apt-get install -q -y --no-install-recommends openjdk-21-jre-headless
rm -rf /var/lib/apt/lists/*

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install -q uv
uv() { "$work/tools/bin/uv" "$@"; }

# Others may read what is installed, the Python that uv fetched too.
export UV_PYTHON_INSTALL_DIR="$prefix/python"
uv venv -q --clear --python 3.12 "$prefix/env"
uv build -q --wheel --out-dir "$work" "$source"
extras=spark,hdf4,tracking
hashed=$source/requirements.txt
[ "$torch" = none ] || extras=$extras,train
if [ "$torch" = cpu ]; then
  # Only of torch and torchvision are other files wanted than those whose hashes are listed.
  awk '/^[a-z0-9]/ { skip = /^(torch|torchvision|triton|nvidia-[a-z0-9-]*)==/ } !skip' "$hashed" > "$work/hashed.txt"
  awk '/^(torch|torchvision)==/ { print $1 }' "$hashed" > "$work/torch.txt"
  uv pip install -q --python "$prefix/env" --torch-backend cpu -r "$work/torch.txt" -c "$work/hashed.txt"
  hashed=$work/hashed.txt
fi
# Versions and hashes are those of requirements.txt, for as much of it as a run needs.
uv pip install -q --python "$prefix/env" --compile-bytecode -c "$hashed" "lulc[$extras] @ $(ls "$work"/lulc-*.whl)"

# Sedona and Iceberg lie among Spark's own JARs: nothing is fetched when a session starts.
export JAVA_HOME="$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")"
spark=$("$prefix/env/bin/python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
HOME=$work "$prefix/env/bin/python" - "$work/ivy" <<'PYTHON'
import sys

from lulc.config import SessionConf
from lulc.spark import session

conf = SessionConf(master="local[1]", conf={"spark.jars.ivy": sys.argv[1]})
session.start_session(conf, extra_jars=session.ICEBERG).stop()
PYTHON
cp "$work/ivy/jars"/*.jar "$spark/jars/"
chmod a+r "$spark/jars"/*.jar

rm -rf "$prefix/jobs" "$prefix/conf"
cp -r "$source/jobs" "$source/conf" "$source/conf/image/entrypoint.sh" "$source/conf/image/gpus.sh" "$prefix/"
ln -sfn "$spark" "$prefix/spark"
chmod a+rx "$prefix/entrypoint.sh" "$prefix/gpus.sh"
# 185 is the user that Spark's own images and charts have.
id lulc > /dev/null 2>&1 || useradd --uid 185 --gid 0 --create-home --shell /bin/sh lulc
"$prefix/env/bin/lulc" --version
