"""EuroSAT: 27,000 Sentinel-2 level-1C images of 64x64 pixels at 10 m, ten classes of land use and cover.

Helber et al. 2019, doi:10.1109/JSTARS.2019.2918242; files of doi:10.5281/zenodo.7711810: `EuroSAT_RGB/` (first published as
`2750/`) and `EuroSAT_MS/` (`ds/images/remote_sensing/otherDatasets/sentinel_2/tif/`), a folder a class. The GeoTIFFs hold B01 to
B08, B09 to B12 and, last, B8A: their means tell it (band 9 has 732, as water vapour has; band 10 has 12, as cirrus has), whatever
other readers say. Splits: the lists of file names that Neumann et al. 2019 (arXiv:1911.06721) and torchgeo publish,
`eurosat-{train,val,test}.txt` and, by longitude, `eurosat-spatial-{train,val,test}.txt`, where they lie in the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import read_lists, scene_example, walk
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

_CLASSES = {
    # Name, which is that of the folder: colour, class of the common legend.
    "AnnualCrop": ("#e49635", 4),
    "Forest": ("#397d49", 1),
    "HerbaceousVegetation": ("#dfc35a", 5),
    "Highway": ("#6e6e6e", 6),
    "Industrial": ("#8b1a9a", 6),
    "Pasture": ("#88b053", 2),
    "PermanentCrop": ("#b5651d", 4),
    "Residential": ("#c4281b", 6),
    "River": ("#6ab7e6", 0),
    "SeaLake": ("#1f5fbf", 0),
}
_LEGEND = Legend(
    "eurosat",
    tuple(LandClass(i, name, colour) for i, (name, (colour, _)) in enumerate(_CLASSES.items())),
)
_COMMON = {i: common for i, (_, common) in enumerate(_CLASSES.values())}
_BANDS = {
    "rgb": ("red", "green", "blue"),
    "ms": (
        "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir09", "cirrus", "swir16", "swir22",
        "nir08",
    ),
}  # fmt: skip


def _describe(options: Options) -> Description:
    bands = _BANDS[options["bands"]]
    # Top-of-atmosphere reflectance times 10,000; the JPEGs are stretched for the eye and have no unit.
    kind, scale = ("uint16", 1e-4) if options["bands"] == "ms" else ("uint8", 1.0)
    encoding = Encoding(bands, kind, (scale,) * len(bands), (0.0,) * len(bands))
    return Description("classify", _LEGEND, encoding, 10.0, common=_COMMON)


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    prefix = {"random": "eurosat", "spatial": "eurosat-spatial"}[options["split"]]
    splits = read_lists(
        root,
        {
            s: f"{prefix}-{n}.txt"
            for s, n in (("train", "train"), ("validation", "val"), ("test", "test"))
        },
    )
    order = list(_CLASSES)
    for file in walk(root, (".jpg",) if options["bands"] == "rgb" else (".tif",)):
        place = PurePosixPath(file)
        if place.parent.name in _CLASSES:
            yield ExampleItem(
                place.stem, (file,), (order.index(place.parent.name),), splits.get(place.stem, "")
            )


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    indexes = [_BANDS[options["bands"]].index(band) + 1 for band in bands]
    return scene_example(root, item, indexes)


EUROSAT = Dataset(
    "eurosat",
    "EuroSAT (Helber et al. 2019, doi:10.1109/JSTARS.2019.2918242), MIT",
    {"bands": ("rgb", "ms"), "split": ("random", "spatial")},
    _describe,
    _items,
    _read,
)
