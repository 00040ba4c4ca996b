"""The command line, and what only it needs: plan, info, doctor and the demo.

It may import every room; no room imports it. `lulc.cli.main:main` is the entry point. Spark, torch
and the readers are imported by the verbs that need them, so that `lulc --help` is quick.
"""
