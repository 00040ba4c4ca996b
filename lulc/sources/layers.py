"""Static layers of a run, such as elevation, as scenes without a date."""

from __future__ import annotations

from lulc.config import LayerConf
from lulc.guard import read_guard
from lulc.sources.header import BandMetadata, make_scene, open_header, with_fingerprint
from lulc.sources.scene import LAYER, Scene


def read_layer(layer: LayerConf) -> Scene:
    """Return the Scene of a layer, which belongs to every period and date.

    Returns:
        A Scene of source `layer` with one band and no datetime.

    Raises:
        InputError: The file cannot be opened, or is not georeferenced.
    """
    with read_guard(f"layer {layer.path}"):
        header = open_header(layer.path)
        band = header.band(layer.band, 1, metadata=BandMetadata(unit=layer.unit or ""))
        return with_fingerprint(make_scene(f"layer:{layer.band}", LAYER, None, [(band, header)]))
