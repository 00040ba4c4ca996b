#!/bin/bash
# What Kubernetes' pods start: Spark calls it with `driver …` and `executor`, and gives the rest in the environment.
# Any other command is run as it is: docker run lulc lulc doctor
set -eu
prefix=$(dirname "$(readlink -f "$0")")
export SPARK_HOME=${SPARK_HOME:-$prefix/spark}
export PATH="$prefix/env/bin:$PATH"
export PYSPARK_PYTHON=${PYSPARK_PYTHON:-$prefix/env/bin/python}
export JAVA_HOME=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")}

case ${1:-} in
  driver)
    shift
    set -- "$SPARK_HOME/bin/spark-submit" --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
      --deploy-mode client "$@"
    ;;
  executor)
    # Options of the JVM come one by one, as SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1 …
    options=()
    for ((number = 0; ; number++)); do
      name=SPARK_JAVA_OPT_$number
      [ -n "${!name:-}" ] || break
      options+=("${!name}")
    done
    classes="${SPARK_CONF_DIR:-$SPARK_HOME/conf}:$SPARK_HOME/jars/*${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}"
    set -- "$JAVA_HOME/bin/java" "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "$classes" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
esac
exec tini -s -- "$@"
