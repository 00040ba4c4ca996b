"""A model's contract as a STAC item of the Machine Learning Model (MLM) extension.

Catalogues and other tools can then find the model and use it.
"""

from __future__ import annotations

from typing import Any

from lulc.models.contract import TREE_MODELS, Contract

_MLM_EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_CLASSIFICATION_EXTENSION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_MLM_TASKS = {
    "segment": "semantic-segmentation",
    "series": "semantic-segmentation",
    "change": "semantic-segmentation",
    "classify": "scene-classification",
    "multilabel": "classification",
    "detect": "object-detection",
}

# Axes of the output by task, each a name and a length: -1 for any, 0 for the number of classes.
_CLASS_AXES = [("batch", -1), ("class", 0)]
_MAP_AXES = [*_CLASS_AXES, ("height", -1), ("width", -1)]
_OUTPUT_AXES: dict[str, list[tuple[str, int]]] = {
    "classify": _CLASS_AXES,
    "multilabel": _CLASS_AXES,
    "detect": [("batch", -1), ("box", -1), ("attribute", 6)],
}

_NETWORK_ASSET = {
    "href": "./weights.safetensors",
    "type": "application/octet-stream; application=safetensors",
    "title": "Weights",
    "roles": ["mlm:model", "mlm:weights"],
    "mlm:artifact_type": "safetensors.torch.save_file",
}
_TREES_ASSET = {
    "href": "./trees.txt",
    "type": "text/plain; application=lightgbm",
    "title": "Trees",
    "roles": ["mlm:model", "mlm:weights"],
    "mlm:artifact_type": "lightgbm.Booster.save_model",
}

_WORLD = [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]


def make_mlm_item(contract: Contract) -> dict[str, Any]:
    """Return the STAC item that describes a model.

    Specification: stac-extensions/mlm 1.4.0. A model is not bound to a place or time: its item
    covers the world and all time.

    Returns:
        The item as a JSON mapping: input bands with their mean and deviation, output classes, and
        the file of weights as an asset.
    """
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_MLM_EXTENSION, _CLASSIFICATION_EXTENSION],
        "id": contract.name,
        "geometry": {"type": "Polygon", "coordinates": _WORLD},
        "bbox": [-180, -90, 180, 90],
        "properties": _properties(contract),
        "links": [],
        "assets": {"weights": _TREES_ASSET if contract.model in TREE_MODELS else _NETWORK_ASSET},
    }


def _properties(contract: Contract) -> dict[str, Any]:
    encoder = contract.architecture.get("encoder")
    return {
        "datetime": None,
        "start_datetime": "0001-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "mlm:name": contract.name,
        "mlm:architecture": f"{contract.model} ({encoder})" if encoder else contract.model,
        "mlm:tasks": [_MLM_TASKS[contract.task]],
        "mlm:framework": "lightgbm" if contract.model in TREE_MODELS else "pytorch",
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input_object(contract)],
        "mlm:output": [_output_object(contract)],
        "lulc:task": contract.task,
        "lulc:temperature": contract.temperature,
        **{f"lulc:fingerprint.{name}": value for name, value in contract.fingerprints.items()},
    }


def _input_object(contract: Contract) -> dict[str, Any]:
    takes_dates = contract.task in ("change", "series")
    axes = [
        ("batch", -1),
        *([("time", -1)] if takes_dates else []),
        ("bands", len(contract.bands)),
        ("height", contract.window or -1),
        ("width", contract.window or -1),
    ]
    bands = ", ".join(contract.describe_bands())
    return {
        "name": f"physical values of {bands}; pixels of {contract.gsd_m:g} m",
        "bands": list(contract.bands),
        "input": _tensor(axes),
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(contract.mean, contract.std, strict=True)
        ],
    }


def _output_object(contract: Contract) -> dict[str, Any]:
    classes = contract.legend.classes
    axes = [
        (name, length or len(classes))
        for name, length in _OUTPUT_AXES.get(contract.task, _MAP_AXES)
    ]
    return {
        "name": contract.task,
        "tasks": [_MLM_TASKS[contract.task]],
        "result": _tensor(axes),
        "classification:classes": [
            {"value": index, "name": c.name, "color_hint": c.colour[1:].upper()}
            for index, c in enumerate(classes)
        ],
    }


def _tensor(axes: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        "shape": [length for _, length in axes],
        "dim_order": [name for name, _ in axes],
        "data_type": "float32",
    }
