"""The predictor under its name of release 0.1, for models that were registered with it."""

from lulc.inference.predictor import load

__all__ = ["load"]
