"""UC Merced Land Use: 2,100 aerial images of 256x256 pixels at 0.3 m, 21 classes of 100 each.

Yang and Newsam 2010, doi:10.1145/1869790.1869829; layout of the published zip:
`UCMerced_LandUse/Images/<class>/<class>NN.tif`, red, green and blue of the USGS National Map. A
few images are a pixel or more smaller. The publisher has no split; images are not georeferenced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import RGB, numbered_scheme, uniform_encoding
from lulc.datasets.files import band_indexes, scene_example, split_of, tell_classless, walk
from lulc.location import Location

_CLASSES = {
    # Name, which is that of the folder: colour, id in the common legend.
    "agricultural": ("#e49635", 4),
    "airplane": ("#7f7f7f", 6),
    "baseballdiamond": ("#b8d68a", 2),
    "beach": ("#f0e0a0", 7),
    "buildings": ("#c4281b", 6),
    "chaparral": ("#dfc35a", 5),
    "denseresidential": ("#8e1b12", 6),
    "forest": ("#397d49", 1),
    "freeway": ("#5a5a5a", 6),
    "golfcourse": ("#88b053", 2),
    "harbor": ("#3a6ea5", 6),
    "intersection": ("#6e6e6e", 6),
    "mediumresidential": ("#d4564a", 6),
    "mobilehomepark": ("#e88f86", 6),
    "overpass": ("#464646", 6),
    "parkinglot": ("#9a9a9a", 6),
    "river": ("#419bdf", 0),
    "runway": ("#303030", 6),
    "sparseresidential": ("#f3c1bc", 6),
    "storagetanks": ("#a020a0", 6),
    "tenniscourt": ("#2f7f6f", 6),
}
_SCHEME = numbered_scheme("ucmerced", ((name, *entry) for name, entry in _CLASSES.items()))
_DESCRIPTION = Description(
    "classify",
    _SCHEME.legend,
    uniform_encoding(RGB, "uint8", unit="picture"),
    gsd_m=0.3,
    common=_SCHEME.common,
)


def _describe(_options: Options) -> Description:
    return _DESCRIPTION


def _items(root: Location, _options: Options) -> Iterator[ExampleItem | Note]:
    ids = {name: i for i, name in enumerate(_CLASSES)}
    others = []
    for image_path in walk(root, (".tif",)):
        path = PurePosixPath(image_path)
        if path.parent.name in ids:
            split = split_of(path.parents[1])
            yield ExampleItem(path.stem, (image_path,), (ids[path.parent.name],), split)
        else:
            others.append(image_path)
    yield from tell_classless(others)


def _read(root: Location, item: ExampleItem, _options: Options, bands: Sequence[str]) -> Example:
    return scene_example(root, item, band_indexes(RGB, bands))


UCMERCED = Dataset(
    name="ucmerced",
    about="UC Merced Land Use (Yang and Newsam 2010, doi:10.1145/1869790.1869829), public domain "
    "imagery of the USGS",
    options={},
    describe=_describe,
    items=_items,
    read=_read,
)
