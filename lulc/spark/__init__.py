"""Spark: the session, the protocol by which stages are carried out, and SQL over a run's tables.

Spark carries keys; workers read and write pixels by the functions of the rooms below. A stage is
one file in `stages/`: its units and its work. It may import every room but `lulc.api` and
`lulc.cli`, which alone may import it. Only this room imports pyspark and sedona.
"""
