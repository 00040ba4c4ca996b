"""SpaceNet 1 to 7: very high resolution images of cities with their buildings (1, 2, 4, 6, 7) or roads (3, 5).

Van Etten et al. 2018, arXiv:1807.01232 (1 to 3); Weir et al. 2019, arXiv:1903.12239 (4); https://spacenet.ai/sn5-challenge (5);
Shermeyer et al. 2020, arXiv:2004.06500 (6); Van Etten et al. 2021, arXiv:2102.04420 (7). Archive s3://spacenet-dataset/spacenet;
layouts also by torchgeo's readers and https://www.topcoder.com/challenges/30116975. A folder holds images of one kind, another
their GeoJSON; an image and its label share the end of their names (`…_PS-RGB_img1.tif`, `…_geojson_buildings_img1.geojson`):
1: `train/3band/3band_AOI_1_RIO_img1.tif`, `8band/`, `geojson/Geo_AOI_1_RIO_img1.geojson`
2, 3: `train/AOI_2_Vegas/PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img1.tif`, `PS-MS/`, `MS/`, `PAN/`, `geojson_buildings/`,
   `geojson_roads/` or `geojson_roads_speed/`; or, of the challenges themselves, `AOI_2_Vegas_Train/RGB-PanSharpen/
   RGB-PanSharpen_AOI_2_Vegas_img1.tif`, `MUL-PanSharpen/`, `MUL/`, `geojson/buildings/` or `geojson/spacenetroads/`
4: `train/Atlanta_nadir7_catid_1030010003D22F00/Pan-Sharpen/Pan-Sharpen_Atlanta_nadir7_catid_…_748451_3743589.tif`, `MS/`, `PAN/`,
   all of 22 December 2009, and, for all 27 views, `geojson/spacenet-buildings/spacenet-buildings_748451_3743589.geojson`
5: `train/AOI_7_Moscow/PS-RGB/SN5_roads_train_AOI_7_Moscow_PS-RGB_chip0.tif`, others as 3, `geojson_roads_speed/`
6: `train/AOI_11_Rotterdam/SAR-Intensity/SN6_Train_AOI_11_Rotterdam_SAR-Intensity_<start>_<end>_tile_1.tif`, `PS-RGB/`,
   `PS-RGBNIR/`, `RGBNIR/`, `PAN/`, `geojson_buildings/…_Buildings_<start>_<end>_tile_1.geojson`
7: `train/<place>/images_masked/global_monthly_2018_01_mosaic_<place>.tif` (alpha 0 where cloudy), `images/`,
   `labels_match/…_Buildings.geojson` (followed through time; the publisher's baseline learns from these two), `labels/`

Eight bands are those of WorldView-2 and 3 in order; `Pan-Sharpen` is blue, green, red, nir (its winners read it so), `RGBNIR` is
taken as it is named, which no document was found to say; SAR is HH, HV, VH, VV in dB, as its author makes it
(https://gist.github.com/dphogan/088c20888bb794f97281d79fd0a36c01). Other numbers have no unit. Where all bands are 0 nothing is
valid. A GeoJSON file without content is an image without buildings or roads; test images come without labels and are no items,
so there is no split. Roads are centre lines, drawn `road_width` metres wide: 4 where nothing is said, the buffer of 2 m to both
sides of the publisher's own masks (github.com/CosmiQ/apls). Series: what of 7 was built, or went, between first and last sight.
Challenges of one city share ground but not the names of images: the footprints of the images tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import shapely
from pyproj import Geod

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Options
from lulc.datasets.files import read_image, walk
from lulc.datasets.readers._spacenet_layout import ENDS, IMAGES, LABELS, ROADS
from lulc.datasets.shapes import draw_mask, read_shapes, shape_boxes
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA, LandClass, Legend
from lulc.tables.encoding import Encoding

_MONTHS = 24  # that SpaceNet 7 has of most places
_ROAD_WIDTH = 4.0
_BUILDING, _ROAD = LandClass(1, "building", "#c4281b"), LandClass(1, "road", "#6e6e6e")
_SERIES = (
    LandClass(0, "no building", "#000000"), _BUILDING, LandClass(2, "new building", "#ffd400"),
    LandClass(3, "former building", "#7a87c6"),
)  # fmt: skip


def _width(options: Options) -> float:
    try:
        width = float(options["road_width"] or _ROAD_WIDTH)
    except ValueError:
        width = 0
    if not 0 < width < np.inf:
        raise UsageError(
            f"spacenet: road_width {options['road_width']!r} must be a number of metres above 0"
        )
    return width


def _describe(options: Options) -> Description:
    challenge, task, kind = options["challenge"], options["task"], options["images"]
    if kind not in IMAGES[challenge]:
        raise UsageError(
            f"spacenet {challenge} has no images {kind!r}: it has {', '.join(IMAGES[challenge])}"
        )
    roads = LABELS[challenge] is ROADS
    if (task == "detect" and roads) or (task == "series" and challenge != "7"):
        raise UsageError(
            f"spacenet {challenge} has no task {task}: buildings can be detected, and those of 7 are a series"
        )
    _width(options)
    folders, gsd_m = IMAGES[challenge][kind]
    bands = next(iter(folders.values()))
    dtype = "float32" if kind == "sar" else "uint8" if challenge == "7" else "uint16"
    encoding = Encoding(bands, dtype, (1.0,) * len(bands), (0.0,) * len(bands))
    what = _ROAD if roads else _BUILDING
    nothing = LandClass(0, f"no {what.name}", "#000000")
    # What is no building may be anything.
    if task == "series":
        return Description(
            "series", Legend("spacenet-series", _SERIES), encoding, gsd_m, _MONTHS, {1: 6, 2: 6}
        )
    if task == "detect":
        return Description(
            "detect", Legend("spacenet-boxes", (what,)), encoding, gsd_m, common={1: 6}
        )
    return Description(
        "segment", Legend(f"spacenet-{what.name}s", (nothing, what)), encoding, gsd_m, common={1: 6}
    )


def _items(root: Path, options: Options) -> Iterator[ExampleItem]:
    challenge = options["challenge"]
    folders, _ = IMAGES[challenge][options["images"]]
    images = _find(root, challenge, ".tif", tuple(folders))
    labels = dict(_find(root, challenge, ".geojson", LABELS[challenge]))
    series: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, image in images:
        if key not in labels:
            continue
        group = key[1].split("_mosaic_")[-1] if challenge == "7" else "_".join(filter(None, key))
        if options["task"] == "series":
            series[group].append((image, labels[key]))
        else:
            yield ExampleItem(PurePosixPath(image).stem, (image, labels[key]), group=group)
    for group, pairs in series.items():
        # Their names begin with the month.
        pairs.sort(key=lambda pair: PurePosixPath(pair[0]).name)
        yield ExampleItem(
            group, (*(image for image, _ in pairs), *(label for _, label in pairs)), group=group
        )


def _find(
    root: Path, challenge: str, suffix: str, folders: tuple[str, ...]
) -> list[tuple[tuple[str, str], str]]:
    # Area and end of the name of every file in such a folder, and the file: of a name in several, that in the first folder.
    found: dict[tuple[str, str, str], tuple[int, str]] = {}
    for file in walk(root, (suffix,)):
        place = PurePosixPath(file)
        end, other = ENDS[challenge].search(place.stem), re.match(r"SN(\d)_", place.stem)
        if place.parent.name not in folders or not end or (other and other[1] != challenge):
            continue
        area = re.search(r"AOI_\d+", place.stem)
        # Views of one ground differ in their image's name; labels of it are one.
        key = (area[0] if area else "", end[1], place.stem if suffix == ".tif" else "")
        found[key] = min(
            found.get(key, (len(folders), "")), (folders.index(place.parent.name), file)
        )
    return [((area, end), file) for (area, end, _), (_, file) in sorted(found.items())]


def _read(root: Path, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    half = len(item.files) // 2
    images, labels = item.files[:half], item.files[half:]
    read = [_image(root, file, options, bands) for file in images]
    grid = read[0][2]
    for file, (_, seen, _) in zip(images, read, strict=True):
        if seen.shape != grid.shape:
            raise InputError(
                f"{root / file} has {seen.shape} pixels, {root / images[0]} {grid.shape}: fetch both anew"
            )
    valid = np.stack([seen for _, seen, _ in read])
    shapes = [_shapes(root / file, grid, options) for file in labels]
    if options["task"] == "detect":
        label = shape_boxes(shapes[0], grid.shape)
    else:
        masks = np.stack([draw_mask(drawn, grid.shape, 0) for drawn in shapes])
        label = _follow(masks, valid) if options["task"] == "series" else masks[0]
    when = tuple(time for time in map(_when, images) if time)
    return Example(np.stack([pixels for pixels, _, _ in read]), valid, label, grid, when)


def _image(
    root: Path, file: str, options: Options, bands: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Grid]:
    own = IMAGES[options["challenge"]][options["images"]][0][PurePosixPath(file).parent.name]
    pixels, valid, grid = read_image(root, file, range(1, len(own) + 1))
    if grid is None:
        raise InputError(f"{root / file} does not say where it lies, its labels do: fetch it anew")
    return pixels[[own.index(band) for band in bands]], valid & pixels.any(0), grid


def _shapes(path: Path, grid: Grid, options: Options) -> list[tuple[shapely.Geometry, int]]:
    if path.is_file() and not path.stat().st_size:
        return []
    shapes = [shape for shape, _ in read_shapes(path, grid)]
    if LABELS[options["challenge"]] is ROADS:
        return [(_widen(shape, grid, _width(options)), 1) for shape in shapes if shape.length]
    return [(shape, 1) for shape in shapes if shape.area]


def _widen(line: shapely.Geometry, grid: Grid, width: float) -> shapely.Geometry:
    # Pixels of degrees are not square on the ground.
    middle = grid.width / 2, grid.height / 2
    x, y = zip(
        *(grid.affine @ (middle[0] + i, middle[1] + j) for i, j in ((0, 0), (1, 0), (0, 1))),
        strict=True,
    )
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    _, _, sides = Geod(ellps="WGS84").inv(lon[:1] * 2, lat[:1] * 2, lon[1:], lat[1:])
    band = shapely.buffer(shapely.transform(line, lambda xy: xy * sides), width / 2)
    return shapely.transform(band, lambda xy: xy / sides)


def _follow(masks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    # (T, H, W) to (H, W): a building when first and last seen, only last (new) or only first (former).
    last = len(valid) - 1 - valid[::-1].argmax(0)
    before, after = (np.take_along_axis(masks, at[None], 0)[0] for at in (valid.argmax(0), last))
    label = np.select([before & after == 1, after == 1, before == 1], [1, 2, 3], 0)
    return np.where(valid.any(0), label, NODATA).astype(np.uint8)


def _when(file: str) -> datetime | None:
    name = PurePosixPath(file).stem
    if found := re.search(r"_(\d{14})_\d{14}_tile", name):
        return datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if found := re.search(r"monthly_(\d{4})_(\d{2})_", name):
        return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    return datetime(2009, 12, 22, tzinfo=UTC) if "Atlanta" in name else None


SPACENET = Dataset(
    "spacenet",
    "SpaceNet 1 to 7 (Van Etten et al. 2018, arXiv:1807.01232, and others), CC-BY-SA-4.0",
    {
        "challenge": ("1", "2", "3", "4", "5", "6", "7"),
        "task": ("segment", "detect", "series"),
        "images": ("rgb", "ps-ms", "ms", "pan", "sar"),
        "road_width": (),
    },
    _describe,
    _items,
    _read,
)
