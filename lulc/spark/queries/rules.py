"""Sessions in which a query can read a run's tables and nothing else.

The rules are Java, `QueryRules.java`: they are part of Spark's own parser and analyser, where every
way into a session passes them. Janino, which Spark brings to compile what it generates, compiles
them when they are needed, so that no other compiler is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

ALLOWED = (
    "a query may read the run's tables and make temporary views of them; "
    "`lulc sql --unsafe` runs any"
)
_MARK = "lulc.query_rules"


def enforce(spark: SparkSession) -> None:
    """Restrict every session made of this one by `newSession`, and give it this one's views.

    Such a session has Sedona's functions, and throws Java's SecurityException for what it refuses.
    This one stays as it is. Its views at the time of a session's first statement are given.
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


def make_java(spark: SparkSession, name: str) -> Any:
    """Compile a class of package `lulc` in the driver's JVM, and return an instance of it.

    Args:
        spark: any session of the JVM.
        name: of the class; its source lies beside this file.
    """
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    jvm = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(jvm.java.lang.Thread.currentThread().getContextClassLoader())
    compiler.cook(Path(__file__).with_name(f"{name}.java").read_text())
    loaded = compiler.getClassLoader().loadClass(f"lulc.{name}")
    no_types = gateway.new_array(jvm.java.lang.Class, 0)
    no_arguments = gateway.new_array(jvm.java.lang.Object, 0)
    return loaded.getDeclaredConstructor(no_types).newInstance(no_arguments)
