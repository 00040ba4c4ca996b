"""A model's contract as a STAC item of the Machine Learning Model extension, so that others can find and use the model."""

from __future__ import annotations

from typing import Any

from lulc.models.contract import Contract

_EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_CLASSES = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_TASKS = {
    "segment": "semantic-segmentation",
    "series": "semantic-segmentation",
    "change": "semantic-segmentation",
    "classify": "scene-classification",
    "multilabel": "classification",
    "detect": "object-detection",
}
_RESULTS: dict[str, list[tuple[str, int]]] = {
    "classify": [("batch", -1), ("class", 0)],
    "multilabel": [("batch", -1), ("class", 0)],
    "detect": [("batch", -1), ("box", -1), ("attribute", 6)],
}


def make_mlm_item(asks: Contract) -> dict[str, Any]:
    """The item as a mapping: input bands with their mean and deviation, output classes, the file of weights.

    Specification: stac-extensions/mlm 1.4.0. The model is not bound to a place or time: the item covers the world and all time.
    """
    several = asks.task in ("change", "series")
    axes = [
        ("batch", -1),
        *([("time", -1)] if several else []),
        ("bands", len(asks.bands)),
        ("height", -1),
        ("width", -1),
    ]
    scaling = [
        {"type": "z-score", "mean": m, "stddev": s}
        for m, s in zip(asks.mean, asks.std, strict=True)
    ]
    count = len(asks.legend.classes)
    results = _RESULTS.get(asks.task, [("batch", -1), ("class", 0), ("height", -1), ("width", -1)])
    task = _TASKS[asks.task]
    classes = [
        {"value": i, "name": c.name, "color_hint": c.colour[1:].upper()}
        for i, c in enumerate(asks.legend.classes)
    ]
    properties = {
        "datetime": None,
        "start_datetime": "0001-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "mlm:name": asks.name,
        "mlm:architecture": f"{asks.model} ({asks.architecture.get('encoder', '')})",
        "mlm:tasks": [task],
        "mlm:framework": "pytorch",
        "mlm:accelerator_constrained": False,
        "mlm:input": [
            {
                "name": f"physical values of {', '.join(asks.bands)}; pixels of {asks.gsd_m:g} m",
                "bands": list(asks.bands),
                "input": {
                    "shape": [n for _, n in axes],
                    "dim_order": [name for name, _ in axes],
                    "data_type": "float32",
                },
                "value_scaling": scaling,
            }
        ],
        "mlm:output": [
            {
                "name": asks.task,
                "tasks": [task],
                "result": {
                    "shape": [n or count for _, n in results],
                    "dim_order": [name for name, _ in results],
                    "data_type": "float32",
                },
                "classification:classes": classes,
            }
        ],
        "lulc:task": asks.task,
        "lulc:temperature": asks.temperature,
        **{f"lulc:fingerprint.{name}": value for name, value in asks.fingerprints.items()},
    }
    world = [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]
    weights = {
        "href": "./weights.safetensors",
        "type": "application/octet-stream; application=safetensors",
        "title": "Weights",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSION, _CLASSES],
        "id": asks.name,
        "geometry": {"type": "Polygon", "coordinates": world},
        "bbox": [-180, -90, 180, 90],
        "properties": properties,
        "links": [],
        "assets": {"weights": weights},
    }
