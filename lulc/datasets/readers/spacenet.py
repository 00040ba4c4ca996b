"""SpaceNet 1 to 7: very high resolution images of cities with their buildings or roads.

Buildings are in 1, 2, 4, 6 and 7, roads in 3 and 5. Van Etten et al. 2018, arXiv:1807.01232 (1 to
3); Weir et al. 2019, arXiv:1903.12239 (4); https://spacenet.ai/sn5-challenge (5); Shermeyer et al.
2020, arXiv:2004.06500 (6); Van Etten et al. 2021, arXiv:2102.04420 (7). Archive
s3://spacenet-dataset/spacenet; layouts also by torchgeo's readers and
https://www.topcoder.com/challenges/30116975. A folder holds images of one kind, another their
GeoJSON; an image and its label share the end of their names (`…_PS-RGB_img1.tif`,
`…_geojson_buildings_img1.geojson`):

1: `train/3band/3band_AOI_1_RIO_img1.tif`, `8band/`, `geojson/Geo_AOI_1_RIO_img1.geojson`
2, 3: `train/AOI_2_Vegas/PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img1.tif`, `PS-MS/`, `MS/`,
   `PAN/`, `geojson_buildings/`, `geojson_roads/` or `geojson_roads_speed/`; or, of the challenges
   themselves, `AOI_2_Vegas_Train/RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img1.tif`,
   `MUL-PanSharpen/`, `MUL/`, `geojson/buildings/` or `geojson/spacenetroads/`
4: `train/Atlanta_nadir7_catid_1030010003D22F00/Pan-Sharpen/
   Pan-Sharpen_Atlanta_nadir7_catid_…_748451_3743589.tif`, `MS/`, `PAN/`, all of 22 December 2009,
   and, for all 27 views, `geojson/spacenet-buildings/spacenet-buildings_748451_3743589.geojson`
5: `train/AOI_7_Moscow/PS-RGB/SN5_roads_train_AOI_7_Moscow_PS-RGB_chip0.tif`, others as 3,
   `geojson_roads_speed/`
6: `train/AOI_11_Rotterdam/SAR-Intensity/
   SN6_Train_AOI_11_Rotterdam_SAR-Intensity_<start>_<end>_tile_1.tif`, `PS-RGB/`, `PS-RGBNIR/`,
   `RGBNIR/`, `PAN/`, `geojson_buildings/…_Buildings_<start>_<end>_tile_1.geojson`
7: `train/<place>/images_masked/global_monthly_2018_01_mosaic_<place>.tif` (alpha 0 where cloudy),
   `images/`, `labels_match/…_Buildings.geojson` (followed through time; the publisher's baseline
   learns from these two), `labels/`

Eight bands are those of WorldView-2 and 3 in order; `Pan-Sharpen` is blue, green, red, nir (its
winners read it so), `RGBNIR` is taken as it is named, which no document was found to say; SAR is
HH, HV, VH, VV in dB, as its author makes it
(https://gist.github.com/dphogan/088c20888bb794f97281d79fd0a36c01). Other numbers have no unit.
Where all bands are 0 nothing is valid. A GeoJSON file without content is an image without buildings
or roads. A label belongs to images beside it or in folders below; where folders between name a
split, such as test, it does not. Test images come without labels and are no items, so that there is
a split only where folders of several hold labels. Roads are centre lines, drawn `road_width` metres
wide: by default 4, the buffer of 2 m to both sides of the publisher's own masks
(github.com/CosmiQ/apls). Series: what of 7 was built, or removed, between first and last sight.
Challenges of one city share ground but not the names of images: the footprints of the images tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import shapely
from pyproj import Geod

from lulc.datasets.dataset import Dataset, Description, Example, ExampleItem, Note, Options
from lulc.datasets.descriptions import uniform_encoding
from lulc.datasets.files import read_image, require_same_shape, split_of, walk
from lulc.datasets.readers._spacenet_layout import (
    IMAGE_KINDS,
    LABEL_FOLDERS,
    NAME_ENDS,
    ROAD_FOLDERS,
)
from lulc.datasets.shapes import (
    LabelledShape,
    draw_mask,
    read_shapes,
    require_overlap,
    shape_boxes,
)
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA, LandClass, Legend
from lulc.location import Location

_MONTHS = 24  # that SpaceNet 7 has of most places
_ROAD_WIDTH = 4.0
_BUILDING, _ROAD = LandClass(1, "building", "#c4281b"), LandClass(1, "road", "#6e6e6e")
_SERIES = (
    LandClass(0, "no building", "#000000"),
    _BUILDING,
    LandClass(2, "new building", "#ffd400"),
    LandClass(3, "former building", "#7a87c6"),
)


def _describe(options: Options) -> Description:
    _check_options(options)
    challenge, task, kind = options["challenge"], options["task"], options["images"]
    folders, gsd_m = IMAGE_KINDS[challenge][kind]
    bands = next(iter(folders.values()))
    dtype = "float32" if kind == "sar" else "uint8" if challenge == "7" else "uint16"
    # No document says how the radar was calibrated.
    encoding = uniform_encoding(bands, dtype, unit="backscatter_db" if kind == "sar" else "")
    target = _ROAD if _has_roads(options) else _BUILDING
    background = LandClass(0, f"no {target.name}", "#000000")
    # What is no building may be anything.
    if task == "series":
        legend, common = Legend("spacenet-series", _SERIES), {1: 6, 2: 6}
        return Description("series", legend, encoding, gsd_m, _MONTHS, common)
    if task == "detect":
        legend = Legend("spacenet-boxes", (target,))
        return Description("detect", legend, encoding, gsd_m, common={1: 6})
    legend = Legend(f"spacenet-{target.name}s", (background, target))
    return Description("segment", legend, encoding, gsd_m, common={1: 6})


def _items(root: Location, options: Options) -> Iterator[ExampleItem | Note]:
    challenge = options["challenge"]
    folders, _ = IMAGE_KINDS[challenge][options["images"]]
    images = _find_files(root, challenge, ".tif", tuple(folders))
    labels = _find_files(root, challenge, ".geojson", LABEL_FOLDERS[challenge])
    labels_of = defaultdict(list)
    for file in labels:
        labels_of[file.area, file.end].append(file)
    series: dict[tuple[str, str], list[tuple[_File, _File]]] = defaultdict(list)
    unlabelled = []
    used = set()
    for image in images:
        label = _label_beside(image, labels_of[image.area, image.end])
        if label is None:
            unlabelled.append(image)
            continue
        used.add(label.path)
        if options["task"] == "series":
            series[image.base, _group(image, challenge)].append((image, label))
        else:
            pair, split = (image.path, label.path), _split(image)
            name = PurePosixPath(image.path).stem
            yield ExampleItem(name, pair, split=split, group=_group(image, challenge))
    for (_, group), pairs in series.items():
        # Their names begin with the month.
        pairs.sort(key=lambda pair: PurePosixPath(pair[0].path).name)
        files = [pair[kind].path for kind in (0, 1) for pair in pairs]
        yield ExampleItem(group, tuple(files), split=_split(pairs[0][0]), group=group)
    yield from _tell_unpaired(unlabelled, labels_of, [x for x in labels if x.path not in used])


def _read(root: Location, item: ExampleItem, options: Options, bands: Sequence[str]) -> Example:
    dates = len(item.files) // 2
    image_paths, label_paths = item.files[:dates], item.files[dates:]
    images = [_read_pixels(root, path, options, bands) for path in image_paths]
    grid = images[0][2]
    for path, (_, image_valid, _) in zip(image_paths, images, strict=True):
        require_same_shape(root / path, image_valid.shape, root / image_paths[0], grid.shape)
    pixels = np.stack([image_pixels for image_pixels, _, _ in images])
    valid = np.stack([image_valid for _, image_valid, _ in images])
    shapes = [_read_labelled_shapes(root / path, grid, options) for path in label_paths]
    if options["task"] == "detect":
        label = shape_boxes(shapes[0], grid.shape)
    else:
        masks = np.stack([draw_mask(date_shapes, grid.shape, 0) for date_shapes in shapes])
        label = _building_change(masks, valid) if options["task"] == "series" else masks[0]
    times = tuple(time for time in map(_image_time, image_paths) if time)
    return Example(pixels, valid, label, grid, times)


def _has_roads(options: Options) -> bool:
    return LABEL_FOLDERS[options["challenge"]] is ROAD_FOLDERS


def _check_options(options: Options) -> None:
    """Raise UsageError where the challenge has no such images or task."""
    challenge, task, kind = options["challenge"], options["task"], options["images"]
    if kind not in IMAGE_KINDS[challenge]:
        raise UsageError(
            f"spacenet {challenge} has no images {kind!r}: it has "
            f"{', '.join(IMAGE_KINDS[challenge])}"
        )
    if (task == "detect" and _has_roads(options)) or (task == "series" and challenge != "7"):
        raise UsageError(
            f"spacenet {challenge} has no task {task}: buildings can be detected, and those of 7 "
            "are a series"
        )
    _road_width(options)


def _road_width(options: Options) -> float:
    """Return the width of roads in metres."""
    try:
        width = float(options["road_width"] or _ROAD_WIDTH)
    except ValueError:
        width = 0
    if not 0 < width < np.inf:
        raise UsageError(
            f"spacenet: road_width {options['road_width']!r} must be a number of metres above 0"
        )
    return width


class _File(NamedTuple):
    """An image or a file of labels."""

    path: str
    """Relative to the root."""
    base: str
    """The folder that holds the images of a place, or the labels of all places in it."""
    area: str
    """Such as AOI_2; empty where the name has none."""
    end: str
    """The end of the name, which an image shares with its label."""
    rank: int
    """Of the folder among those that may hold such files."""


def _find_files(
    root: Location, challenge: str, suffix: str, folders: tuple[str, ...]
) -> list[_File]:
    """Return the files in such folders; of those of one name in one place that of the first one."""
    best: dict[tuple[str, str], _File] = {}
    for file in walk(root, (suffix,)):
        path = PurePosixPath(file)
        end = NAME_ENDS[challenge].search(path.stem)
        named_challenge = re.match(r"SN(\d)_", path.stem)
        is_other = named_challenge is not None and named_challenge[1] != challenge
        if path.parent.name not in folders or not end or is_other:
            continue
        area = re.search(r"AOI_\d+", path.stem)
        base = path.parents[2 if path.parents[1].name == "geojson" else 1]
        rank = folders.index(path.parent.name)
        candidate = _File(file, str(base), area[0] if area else "", end[1], rank)
        # Of an image the whole name counts: views of one ground share its end.
        key = candidate.base, path.stem if suffix == ".tif" else f"{candidate.area} {candidate.end}"
        if key not in best or rank < best[key].rank:
            best[key] = candidate
    return sorted(best.values())


def _label_beside(image: _File, labels: Sequence[_File]) -> _File | None:
    """Return the label, of those with the image's name, in the image's folder or above it.

    None lies there where a folder between the two names a split.
    """
    base = PurePosixPath(image.base)
    nearby = [
        label
        for label in labels
        if base.is_relative_to(label.base) and not split_of(base.relative_to(label.base))
    ]
    return max(nearby, key=lambda label: len(label.base), default=None)


def _split(image: _File) -> str:
    return split_of(image.base) or split_of(PurePosixPath(image.path).stem)


def _group(image: _File, challenge: str) -> str:
    if challenge == "7":
        return image.end.split("_mosaic_")[-1]
    return "_".join(filter(None, (image.area, image.end)))


def _tell_unpaired(
    images: Sequence[_File],
    labels_of: Mapping[tuple[str, str], Sequence[_File]],
    labels: Sequence[_File],
) -> Iterator[Note]:
    misplaced = [image for image in images if labels_of.get((image.area, image.end))]
    if misplaced:
        label = labels_of[misplaced[0].area, misplaced[0].end][0]
        yield Note(
            f"{len(misplaced):,} images are left out whose only label of that name lies in another "
            f"folder, such as {misplaced[0].path} and {label.path}: put labels beside their images"
        )
    alone = [image for image in images if not labels_of.get((image.area, image.end))]
    if alone:
        yield Note(f"{len(alone):,} images have no label and are left out, such as {alone[0].path}")
    if labels:
        yield Note(f"{len(labels):,} labels have no such image, such as {labels[0].path}")


def _read_pixels(
    root: Location, image_path: str, options: Options, bands: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Grid]:
    folders, _ = IMAGE_KINDS[options["challenge"]][options["images"]]
    file_bands = folders[PurePosixPath(image_path).parent.name]
    pixels, valid, grid = read_image(root, image_path, range(1, len(file_bands) + 1))
    if grid is None:
        raise InputError(f"{root / image_path} is not georeferenced, its labels are: fetch it anew")
    return pixels[[file_bands.index(band) for band in bands]], valid & pixels.any(0), grid


def _read_labelled_shapes(path: Location, grid: Grid, options: Options) -> list[LabelledShape]:
    if path.is_file() and not path.stat().st_size:
        return []
    shapes = [shape for shape, _ in read_shapes(path, grid)]
    require_overlap(shapes, grid.shape, path)
    if _has_roads(options):
        width = _road_width(options)
        return [(_widen(shape, grid, width), 1) for shape in shapes if shape.length]
    return [(shape, 1) for shape in shapes if shape.area]


def _widen(line: shapely.Geometry, grid: Grid, width: float) -> shapely.Geometry:
    """Return a line in a grid's pixels as an area of this width in metres."""
    # Pixels of degrees are not square on the ground.
    column, row = grid.width / 2, grid.height / 2
    corners = ((column, row), (column + 1, row), (column, row + 1))
    x, y = zip(*(grid.affine @ corner for corner in corners), strict=True)
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    _, _, sides = Geod(ellps="WGS84").inv(lon[:1] * 2, lat[:1] * 2, lon[1:], lat[1:])
    area = shapely.buffer(shapely.transform(line, lambda xy: xy * sides), width / 2)
    return shapely.transform(area, lambda xy: xy / sides)


def _building_change(masks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the label of a series of building masks.

    Args:
        masks: (T, H, W), 1 where a building is.
        valid: (T, H, W) bool.

    Returns:
        (H, W) uint8: 1 a building when first and last seen, 2 only last (new), 3 only first
        (former), 0 neither, 255 never seen.
    """
    first, last = valid.argmax(0), len(valid) - 1 - valid[::-1].argmax(0)
    before, after = (np.take_along_axis(masks, date[None], 0)[0] for date in (first, last))
    label = np.select([before & after == 1, after == 1, before == 1], [1, 2, 3], 0)
    return np.where(valid.any(0), label, NODATA).astype(np.uint8)


def _image_time(image_path: str) -> datetime | None:
    name = PurePosixPath(image_path).stem
    if match := re.search(r"_(\d{14})_\d{14}_tile", name):
        return datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if match := re.search(r"monthly_(\d{4})_(\d{2})_", name):
        return datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
    return datetime(2009, 12, 22, tzinfo=UTC) if "Atlanta" in name else None


SPACENET = Dataset(
    name="spacenet",
    about="SpaceNet 1 to 7 (Van Etten et al. 2018, arXiv:1807.01232, and others), CC-BY-SA-4.0",
    options={
        "challenge": ("1", "2", "3", "4", "5", "6", "7"),
        "task": ("segment", "detect", "series"),
        "images": ("rgb", "ps-ms", "ms", "pan", "sar"),
        "road_width": (),
    },
    describe=_describe,
    items=_items,
    read=_read,
)
