"""One run file with common band names maps a place from a Sentinel-2 and a Landsat product."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lulc.chips.chip import Chip
from lulc.config import Archive, Config
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.runfile import parse_run
from lulc.sources import registry
from lulc.sources.scene import Scene
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.spark.stages.tile import tile
from lulc.stages import Selection
from lulc.tables import schemas, store
from tests.helpers.synthetic_scenes import write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BANDS = ("red", "nir08", "swir16")
# Reflectances that all pixels of a band have, so that pixel sides and lattices do not matter.
TRUTH = dict(zip(BANDS, (0.0723, 0.3517, 0.2291), strict=True))
# Other bands hold this: were one taken for another, it would show.
WRONG = 0.9
PRODUCT = "LC09_L2SP_175082_20240608_20240609_02_T1"
# Sentinel-2's place, so that both products lie in its tile.
GRID = Grid(sentinel2.FINE.crs, (30.0, 0.0, 499_980.0, 0.0, -30.0, 6_200_020.0), 40, 40)


def make_sentinel2(folder: Path) -> None:
    root = sentinel2.make_product(folder, "2A", "05.11", ("B04", "B08", "B8A", "B11"))
    names = {"B04": "red", "B8A": "nir08", "B11": "swir16"}
    for path in root.rglob("*_B??_*m.jp2"):
        own, side = re.findall(r"_(B\w\w)_(\d\d)m", path.name)[0]
        # Baseline 05.11: reflectance = (DN + offset) / 10000, and the
        # test product has a different offset in every band.
        number = round(1e4 * TRUTH.get(names.get(own, ""), WRONG)) + 1000 - sentinel2.OWN.index(own)
        sentinel2.write_jp2(
            path, np.full(sentinel2.grid(int(side)).shape, number, "uint16"), int(side)
        )
    for path in root.rglob("*_SCL_*m.jp2"):
        side = int(path.stem[-3:-1])
        sentinel2.write_jp2(path, np.full(sentinel2.grid(side).shape, 4, "uint8"), side)


def make_landsat(folder: Path) -> None:
    landsat.make(folder, PRODUCT, "OLI_TIRS", landsat.OLI_KEYS, GRID)
    names = {"SR_B4": "red", "SR_B5": "nir08", "SR_B6": "swir16"}
    for path in folder.glob("*_SR_B?.TIF"):
        # Collection 2, level 2: reflectance = DN * 0.0000275 - 0.2.
        number = round((TRUTH.get(names.get(path.stem[-5:], ""), WRONG) + 0.2) / 2.75e-5)
        write_raster(path, np.full(GRID.shape, number, "uint16"), GRID, nodata=0)
    for path in folder.glob("*_QA_*.TIF"):
        write_raster(path, np.zeros(GRID.shape, "uint16"), GRID)


def make_run(folder: Path, archive: str, bands: tuple[str, ...] = BANDS) -> Config:
    raw = {
        "name": "one",
        "scenes": [{"path": "."}],
        "bands": list(bands),
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "tiling": {"crs": "EPSG:6933", "resolution": 30, "size": 16, "halo": 0, "block": 2},
        "samples": {"size": 16},
    }
    return replace(parse_run(raw, folder), scenes=(Archive(str(folder / archive)),))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    make_sentinel2(folder / "sentinel2")
    make_landsat(folder / "landsat")
    return folder


def test_both_become_the_same_chips(place: Path, spark: SparkSession) -> None:
    made: dict[str, list[Chip]] = {}
    for name in ("sentinel2", "landsat"):
        out = place / f"out_{name}"
        context = StageContext(make_run(place, name), out, Selection(), lambda: spark)
        assert (index(context).bad, tile(context).bad) == (0, 0)
        table = store.read_table(out, "chips")
        assert table.schema.equals(schemas.CHIPS)
        made[name] = [Chip.from_row(row) for row in table.sort_by("tile_id").to_pylist()]
        assert {chip.source for chip in made[name]} == {name}
        for chip in made[name]:
            assert chip.bands == BANDS
            assert chip.valid.any()
            for pixels, scale, offset, true in zip(
                chip.pixels[0], chip.scales, chip.offsets, TRUTH.values(), strict=True
            ):
                found = pixels[chip.valid[0]] * scale + offset
                # Half a step of the product's numbers, and half of the chips'.
                assert np.abs(found - true).max() <= max(2.75e-5, scale)
    first, second = made["sentinel2"], made["landsat"]
    assert [c.tile_id for c in first] == [c.tile_id for c in second]
    assert {(c.grid, c.bands, c.pixels.shape) for c in first} == {
        (c.grid, c.bands, c.pixels.shape) for c in second
    }


def read_one(archive: Archive, *bands: str) -> Scene:
    source = registry.source_of(archive)
    (item,) = source.items(archive)
    return source.read(item, archive, bands)


def test_the_two_near_infrared_bands_are_not_taken_for_each_other(place: Path) -> None:
    # Landsat 8 and 9 have one near infrared band, as narrow as
    # Sentinel-2's B8A; nothing matches Sentinel-2's wide B08.
    first, second = Archive(str(place / "sentinel2")), Archive(str(place / "landsat"))
    for band, own in (("nir", "B08"), ("nir08", "B8A")):
        assert f"_{own}_" in read_one(first, band).bands[0].href
    assert read_one(second, "nir08").bands[0].href.endswith("SR_B5.TIF")
    with pytest.raises(InputError, match=r"no band nir; it has .*nir08 \(SR_B5\)"):
        read_one(second, "nir")
    assert (
        read_one(replace(second, bands={"nir08": "nir"}), "nir").bands[0].href.endswith("SR_B5.TIF")
    )
