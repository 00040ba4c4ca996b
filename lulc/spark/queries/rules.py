"""Sessions in which a query can read a run's tables and nothing else.

The rules are Java, `QueryRules.java`: they are part of Spark's own parser and analyser, where every
way into a session passes them. Janino, which Spark brings to compile what it generates, compiles
them when they are needed, so that no other compiler is asked for.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

ALLOWED = (
    "a query may read the run's tables and make temporary views of them; "
    "`lulc sql --unsafe` runs any"
)
# Classes of SQLSTATE: cardinality violation, data exception, and an error that a query raises.
_ERRORS_OF_VALUES = ("21", "22", "P0")
_SPARK_ERROR = "org.apache.spark.SparkThrowable"
_SEDONA_ERROR = "InferredExpressionException"
_MARK = "lulc.query_rules"


def enforce(spark: SparkSession) -> None:
    """Restrict every session made of this one by `newSession`, and give it this one's views.

    Such a session has Sedona's functions if this one has, and throws Java's SecurityException for
    what it refuses. This one stays as it is. Its views at the time of a session's first statement
    are given.
    """
    settings = spark._jsparkSession.sharedState().conf()
    if not settings.contains(_MARK):
        make_java(spark, "QueryRules").enforce(spark._jsparkSession)
        settings.set(_MARK, "true")


def refusal(error: Exception) -> str | None:
    """Return what a restricted session says that it refuses; None for another error."""
    thrown = getattr(error, "java_exception", None)
    if thrown is None or thrown.getClass().getName() != "java.lang.SecurityException":
        return None
    return str(thrown.getMessage())


def fault_of_query(error: Exception) -> str | None:
    """Return what Spark says of a query that failed on its values; None for another error.

    Such are a division by zero, a text that is no number, a text that is no geometry, and a
    subquery of several rows where one is taken.
    """
    # Captured by PySpark, or as Py4J raises it.
    cause = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    gateway: Any = SparkContext._gateway
    while cause is not None:
        is_of_values = cause.getClass().getSimpleName() == _SEDONA_ERROR or (
            gateway.jvm.py4j.reflection.TypeUtil.isInstanceOf(_SPARK_ERROR, cause)
            and str(cause.getSqlState()).startswith(_ERRORS_OF_VALUES)
        )
        if is_of_values:
            # Below it Spark shows the query.
            return " ".join(str(cause.getMessage()).partition("\n==")[0].split())
        cause = cause.getCause()
    return None


def make_java(spark: SparkSession, name: str) -> Any:
    """Compile a class of package `lulc` in the driver's JVM, and return an instance of it.

    A JVM has one instance, whatever its sessions: Py4J knows a class by its name alone, and takes
    one that is compiled anew for the one before.

    Args:
        spark: any session of the JVM.
        name: of the class; its source lies beside this file.
    """
    return _compile(spark.sparkContext._gateway, name)


@lru_cache
def _compile(gateway: Any, name: str) -> Any:
    jvm = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(jvm.java.lang.Thread.currentThread().getContextClassLoader())
    compiler.cook(Path(__file__).with_name(f"{name}.java").read_text())
    loaded = compiler.getClassLoader().loadClass(f"lulc.{name}")
    no_types = gateway.new_array(jvm.java.lang.Class, 0)
    no_arguments = gateway.new_array(jvm.java.lang.Object, 0)
    return loaded.getDeclaredConstructor(no_types).newInstance(no_arguments)
