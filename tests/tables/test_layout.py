"""Where files lie: no folder grows with the map, and files of earlier releases keep their names."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from lulc.tables import layout
from lulc.tables.layout import BlockKey

CELLS = st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000))


@given(cell=CELLS, period=st.sampled_from(["2024", "may 2024", "a.b"]))
def test_a_block_has_a_place_of_its_own_that_earlier_releases_knew_without_its_sector(
    cell: tuple[int, int], period: str
) -> None:
    place = layout.block_file("chips", BlockKey(period, "t", *cell), "f" * 16)
    old = f"tables/chips/{period}.{cell[0]}_{cell[1]}.{'f' * 16}.parquet"
    assert layout.without_sector(place) == old
    assert layout.without_sector(old) == old
    assert layout.without_fingerprint(place) == layout.without_fingerprint(old)
    folder = PurePosixPath(place).parent.name.removeprefix(f"sector={period}.")
    col, row = (int(number) for number in folder.split("_"))
    assert (col, row) == (cell[0] // 64, cell[1] // 64)


@given(cell=CELLS, flat=st.booleans())
def test_what_belongs_to_a_raster_lies_as_it_does(cell: tuple[int, int], flat: bool) -> None:
    place = layout.raster("2024", "my run", cell, flat)
    assert layout.raster_period(place) == "2024"
    name = PurePosixPath(place).relative_to("rasters/2024")
    assert len(name.parts) == (1 if flat else 2)
    assert layout.raster_item(place) == place.removesuffix(".tif") + ".json"
    confidence = PurePosixPath(layout.confidence_raster(place))
    assert confidence.parent == PurePosixPath("confidence/2024") / name.parent


def test_no_folder_of_a_continent_has_more_files_than_a_sector() -> None:
    # 300 x 300 blocks of 4 x 4 tiles, and as many rasters.
    keys = [
        BlockKey("2024", "t", 4 * col, 4 * row) for col in range(300) for row in range(-150, 150)
    ]
    blocks = Counter(layout.block_file("chips", key, "f").rpartition("/")[0] for key in keys)
    rasters = [layout.raster("2024", "r", (c, r)) for c in range(300) for r in range(300)]
    folders = Counter(place.rpartition("/")[0] for place in rasters)
    assert max(blocks.values()) == 16**2
    assert max(folders.values()) == 64**2
    assert max(len(blocks), len(folders)) < 500
