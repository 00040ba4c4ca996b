"""EuroSAT: 27,000 Sentinel-2 level-1C images of 64x64 pixels at 10 m, ten classes of land use.

Helber et al. 2019, doi:10.1109/JSTARS.2019.2918242; files of doi:10.5281/zenodo.7711810:
`EuroSAT_RGB/` (first published as `2750/`) and `EuroSAT_MS/`
(`ds/images/remote_sensing/otherDatasets/sentinel_2/tif/`), a folder a class. The GeoTIFFs hold B01
to B08, B09 to B12 and, last, B8A: their means show it (band 9 has 732, as water vapour has; band
10 has 12, as cirrus has), whatever other readers say. Splits: the lists of file names that Neumann
et al. 2019 (arXiv:1911.06721) and torchgeo publish, `eurosat-{train,val,test}.txt` and, by
longitude, `eurosat-spatial-{train,val,test}.txt`, where they are in the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import (
    REFLECTANCE_SCALE,
    RGB,
    SENTINEL2_BANDS,
    numbered_scheme,
    uniform_encoding,
)
from lulc.datasets.files import (
    SPLIT_NAMES,
    band_indexes,
    read_split_lists,
    scene_example,
    split_of,
    tell_classless,
    walk,
)
from lulc.location import Location

_CLASSES = {
    # Name, which is that of the folder: colour, id in the common legend.
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
_SCHEME = numbered_scheme("eurosat", ((name, *entry) for name, entry in _CLASSES.items()))
_BANDS = {
    "rgb": RGB,
    "ms": (*(band for band in SENTINEL2_BANDS if band != "nir08"), "nir08"),
}
_LIST_PREFIXES = {"random": "eurosat", "spatial": "eurosat-spatial"}


def _describe(options: Options) -> Description:
    bands = _BANDS[options["bands"]]
    if options["bands"] == "ms":
        # Top-of-atmosphere reflectance times 10,000.
        encoding = uniform_encoding(bands, "uint16", REFLECTANCE_SCALE, "toa_reflectance")
    else:
        # The JPEGs are stretched for the eye and have no unit.
        encoding = uniform_encoding(bands, "uint8", unit="picture")
    return Description("classify", _SCHEME.legend, encoding, gsd_m=10.0, common=_SCHEME.common)


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    prefix = _LIST_PREFIXES[options["split"]]
    lists = {split: f"{prefix}-{name}.txt" for name, split in SPLIT_NAMES.items()}
    splits = read_split_lists(root, lists)
    ids = {name: i for i, name in enumerate(_CLASSES)}
    others = []
    for image_path in walk(root, (".jpg",) if options["bands"] == "rgb" else (".tif",)):
        path = PurePosixPath(image_path)
        if path.parent.name in ids:
            classes = (ids[path.parent.name],)
            split = splits.get(path.stem) or split_of(path.parents[1])
            yield ExampleItem(path.stem, (image_path,), classes, split)
        else:
            others.append(image_path)
    yield from tell_classless(others)


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    return scene_example(root, item, band_indexes(_BANDS[options["bands"]], bands))


EUROSAT = Dataset(
    name="eurosat",
    about="EuroSAT (Helber et al. 2019, doi:10.1109/JSTARS.2019.2918242), MIT",
    options={"bands": ("rgb", "ms"), "split": ("random", "spatial")},
    describe=_describe,
    items=_items,
    read=_read,
)
