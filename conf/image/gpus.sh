#!/bin/sh
# Tells Spark the addresses of the GPUs that this machine or container has (spark.executor.resource.gpu.discoveryScript).
addresses=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/.*/"&"/' | paste -sd,)
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
