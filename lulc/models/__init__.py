"""Networks, tasks, contracts and the registry of models.

Holds what can be trained (`networks/`), what a model can be trained for (`tasks/`), the contract
that travels with its weights (`contract`, `package`, `mlm`), and the MLflow store (`registry`,
`tracking`). May import samples, stats and every room below; training, inference, report, spark and
cli may import it. This file imports nothing, so that contracts are read without torch. MLflow is
imported by `registry` and `tracking` alone.
"""
