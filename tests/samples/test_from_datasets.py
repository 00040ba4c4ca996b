"""Datasets as samples: listing, splits, crosswalks, windows, bad items, and the audit."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import rasterio
from rasterio.transform import from_origin

from lulc.config import Config, DatasetConf, SampleConf
from lulc.datasets import corine, igbp, registry
from lulc.datasets.dataset import Example, ExampleItem
from lulc.datasets.listing import list_items
from lulc.datasets.readers.eurosat import _CLASSES as EUROSAT_CLASSES
from lulc.datasets.registry import DATASETS
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.legend import COMMON, NODATA
from lulc.runfile import parse_run
from lulc.samples import dataset_splits, from_datasets
from lulc.samples.splits import SPLITS
from lulc.spark.context import StageContext, StageResult
from lulc.spark.stages import samples
from lulc.stages import Selection
from lulc.tables import arrays, schemas, store
from lulc.tables.encoding import Encoding
from lulc.tables.ledger import read_latest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
EACH = 7


def write_eurosat(
    root: Path, at: tuple[float, float] = (500_000, 5_300_000)
) -> dict[str, np.ndarray]:
    """A EuroSAT_MS of seven images a class, side by side in UTM 33N; name → pixels as written."""
    rng = np.random.default_rng(1)
    written = {}
    for row, name in enumerate(EUROSAT_CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in range(1, EACH + 1):
            array = rng.integers(1, 10_000, (13, 64, 64), np.uint16)
            place = from_origin(at[0] + 2000 * n, at[1] - 2000 * row, 10, 10)
            profile: dict[str, Any] = {
                "driver": "GTiff",
                "count": 13,
                "height": 64,
                "width": 64,
                "dtype": "uint16",
            }
            with rasterio.open(
                root / name / f"{name}_{n}.tif", "w", crs="EPSG:32633", transform=place, **profile
            ) as file:
                file.write(array)
            written[f"{name}_{n}"] = array
    return written


def make_run(out: Path, *confs: dict[str, Any], **more: Any) -> Config:
    return registry.complete_from_datasets(
        parse_run({"name": "learn", "datasets": list(confs)} | more, out)
    )


def carry_out(config: Config, out: Path, spark: SparkSession, **choice: Any) -> StageResult:
    return samples.samples(StageContext(config, out.resolve(), Selection(**choice), lambda: spark))


def read_samples(out: Path) -> list[dict[str, Any]]:
    return (
        ds.dataset(store.table_folder(out, "samples"), format="parquet", partitioning="hive")
        .to_table()
        .to_pylist()
    )


def test_every_dataset_describes_itself() -> None:
    for name, dataset in DATASETS.items():
        assert name == dataset.name
        needed = (
            {"images": "{class}/{item}.png", "classes": "grass, roof"} if name == "images" else {}
        )
        description = dataset.describe(registry.options_of(DatasetConf(name, ".", needed)))
        assert set(description.common) <= set(description.legend.ids)
        assert set(description.common.values()) <= set(COMMON.ids)
        assert (
            len(set(description.encoding.bands))
            == len(description.encoding.bands)
            == len(description.encoding.scales)
        )


def test_the_readme_prints_the_crosswalks() -> None:
    eurosat = DATASETS["eurosat"].describe({"bands": "rgb", "split": "random"})
    names = {c.id: c.name for c in eurosat.legend.classes}
    lines = (ROOT / "README.md").read_text().splitlines()
    for c in COMMON.classes:
        own = ", ".join(names[i] for i, common in eurosat.common.items() if common == c.id) or "–"
        codes = _ranges([code for code in corine.CODES if corine.common_of(code) == c.id])
        ids = _ranges([i for i, common in igbp.IGBP.common.items() if common == c.id])
        assert f"| {c.id} {c.name} | {own} | {codes} | {ids} |" in lines


def _ranges(codes: list[int]) -> str:
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][-1] + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "–"


def test_eurosat_becomes_samples_as_published(tmp_path: Path, spark: SparkSession) -> None:
    root, out = tmp_path / "EuroSAT_MS", tmp_path / "out"
    written = write_eurosat(root)
    run = make_run(
        tmp_path,
        {"name": "eurosat", "root": str(root), "options": {"bands": "ms"}},
        bands=["nir08", "red"],
    )
    result = carry_out(run, out, spark)
    assert result.bad == 0
    rows = read_samples(out)
    assert sorted(row["sample_id"] for row in rows) == sorted(f"eurosat/{name}" for name in written)
    ids = list(EUROSAT_CLASSES)
    for row in rows:
        name = row["sample_id"].removeprefix("eurosat/")
        # The file's last band is B8A, its fourth red.
        np.testing.assert_array_equal(arrays.array_from(row, "pixels")[0], written[name][[12, 3]])
        assert arrays.array_from(row, "label") == ids.index(name.partition("_")[0])
        assert (row["crs"], row["scales"], row["task"]) == ("EPSG:32633", [1e-4, 1e-4], "classify")
    for split in SPLITS:
        held = [row for row in rows if row["split"] == split]
        assert np.sum([row["class_counts"] for row in held], axis=0).min() >= 0
        assert held
    again = carry_out(run, out, spark)
    assert (again.done, again.skipped) == (0, result.done)


def test_balanced_classes_of_a_weighted_dataset_weigh_the_same(
    tmp_path: Path, spark: SparkSession
) -> None:
    root, out = tmp_path / "EuroSAT_MS", tmp_path / "out"
    write_eurosat(root)
    for n in range(1, 5):
        (root / "Forest" / f"Forest_{n}.tif").unlink()
    conf = {"name": "eurosat", "root": str(root), "options": {"bands": "ms"}, "weight": 3.0}
    run = make_run(out, conf, bands=["red"], samples={"balance": "class", "folds": 2})
    assert carry_out(run, out, spark).bad == 0
    rows = [row for row in read_samples(out) if row["split"] == "train"]
    assert np.mean([row["weight"] for row in rows]) == pytest.approx(3)
    by_class: dict[int, float] = {}
    for row in rows:
        id_ = int(arrays.array_from(row, "label"))
        by_class[id_] = by_class.get(id_, 0) + row["weight"]
    assert len(by_class) == 10
    assert list(by_class.values()) == pytest.approx([3 * len(rows) / 10] * 10)
    assert {row["weight"] for row in read_samples(out) if row["split"] != "train"} == {3.0}


def test_a_balance_that_the_listing_cannot_tell_is_refused(tmp_path: Path) -> None:
    conf = DatasetConf("eurosat", str(tmp_path))
    description = DATASETS["eurosat"].describe(registry.options_of(conf))
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        tmp_path, "eurosat", conf, description.encoding, 64, 1, description.legend, codes
    )
    items = [ExampleItem("a", ("a.tif",), (1,), group="x"), ExampleItem("b", ("b.tif",), (2,))]
    with pytest.raises(UsageError, match=r"samples\.balance area"):
        dataset_splits.item_weights(items, spec, SampleConf(balance="area"), 1000)
    with pytest.raises(UsageError, match=r"samples\.balance class"):
        dataset_splits.item_weights(
            [*items, ExampleItem("c", ("c.tif",))], spec, SampleConf(balance="class"), 1000
        )


def test_the_publishers_lists_decide_the_split(tmp_path: Path) -> None:
    names = sorted(write_eurosat(tmp_path))
    for number, split in enumerate(("train", "val", "test")):
        # Names of the JPEGs, whichever form is read; the last image is in no list.
        listed = names[number:-1:3]
        (tmp_path / f"eurosat-spatial-{split}.txt").write_text(
            "".join(f"{name}.jpg\n" for name in listed)
        )
    conf = DatasetConf("eurosat", str(tmp_path), {"bands": "ms", "split": "spatial"})
    found = {item.name: item.split for item in list_items(conf).items}
    assert found == {
        name: ("train", "validation", "test")[i % 3] for i, name in enumerate(names[:-1])
    } | {names[-1]: ""}
    held = dataset_splits.split_items(list_items(conf).items, conf, SampleConf(), 10.0, 64)
    assert [item.name for item in held["test"]] == names[2:-1:3]
    assert names[-1] not in {item.name for inside in held.values() for item in inside}
    (tmp_path / "eurosat-spatial-val.txt").unlink()
    with pytest.raises(InputError, match=r"but not eurosat-spatial-val\.txt"):
        list_items(conf)


def test_damaged_images_are_ledger_rows_and_the_limit_holds(
    tmp_path: Path, spark: SparkSession
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    written = write_eurosat(root)
    cut = root / "Forest" / "Forest_2.tif"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    run = make_run(tmp_path, {"name": "eurosat", "root": str(root), "options": {"bands": "ms"}})
    assert carry_out(run, out, spark).bad == 1
    ledger = read_latest(out, "samples")
    assert "Forest_2.tif" in str(ledger["item:eurosat/Forest_2"].error)
    assert len(read_samples(out)) == len(written) - 1
    assert carry_out(run, out, spark).bad == 1
    # A driver that was killed before it recorded what its workers had written.
    shutil.rmtree(out / "tables" / "ledger")
    assert carry_out(run, out, spark).bad == 1
    assert "item:eurosat/Forest_2" in read_latest(out, "samples")
    cut.write_bytes(whole)
    assert carry_out(run, out, spark).bad == 0
    assert len(read_samples(out)) == len(written)


def test_one_ground_in_two_splits_stops_the_build_and_names_both(
    tmp_path: Path, spark: SparkSession
) -> None:
    write_eurosat(tmp_path / "one")
    write_eurosat(tmp_path / "two", (500_000 - 1260, 5_300_000))
    run = make_run(
        tmp_path,
        {"name": "eurosat", "root": "one", "options": {"bands": "ms"}},
        samples={"buffer": 200, "validation": 0.2, "test": 0.2},
    )
    # Images of one archive are 1,360 m apart, those of the other lie 100 m beside them.
    carry_out(run, tmp_path / "apart", spark)
    both = dataclasses.replace(
        run,
        datasets=(*run.datasets, dataclasses.replace(run.datasets[0], root=str(tmp_path / "two"))),
    )
    with pytest.raises(
        InputError,
        match=r"samples eurosat(-2)?/\w+ \(\w+\) and eurosat(-2)?/\w+ \(\w+\) "
        r"are (99|100)\.\d m apart",
    ):
        carry_out(both, tmp_path / "near", spark)


def test_a_class_without_a_counterpart_is_an_error_unless_ignored() -> None:
    description = DATASETS["eurosat"].describe({"bands": "rgb", "split": "random"})
    narrow = dataclasses.replace(description, common={0: 4})
    with pytest.raises(UsageError, match=r"1 Forest.*datasets\.ignore"):
        registry.crosswalk(DatasetConf("eurosat", "."), narrow, COMMON)
    rest = tuple(i for i in description.legend.ids if i)
    assert registry.crosswalk(DatasetConf("eurosat", ".", ignore=rest), narrow, COMMON) == {0: 4}


def test_a_large_image_with_a_mask_is_cut_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = DATASETS["eurosat"].describe({"bands": "rgb", "split": "random"})
    dense = dataclasses.replace(description, task="segment")
    monkeypatch.setitem(
        DATASETS, "eurosat", dataclasses.replace(DATASETS["eurosat"], describe=lambda _: dense)
    )
    encoding = Encoding(("red",), "uint8", (1.0,), (0.0,))
    conf = DatasetConf("eurosat", str(tmp_path))
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        tmp_path, conf.name, conf, encoding, 64, 2, description.legend, codes
    )
    rng = np.random.default_rng(0)
    array = rng.integers(1, 255, (3, 1, 100, 150), np.uint8)
    label = rng.integers(0, 10, (100, 150)).astype(np.int32)
    label[:64, :64] = NODATA
    grid = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 100, 150)
    example = Example(array, np.ones((3, 100, 150), bool), label, grid)
    rows = from_datasets.cut_example(ExampleItem("a", ("a.tif",)), example, spec)
    # Six windows less the one without a label; every labelled pixel in one of them.
    assert len(rows) == 5
    assert sum(sum(row["class_counts"]) for row in rows) == (label != NODATA).sum()
    for row in rows:
        col, line = round((row["transform"][2] - 5e5) / 10), round((5e6 - row["transform"][5]) / 10)
        inside = arrays.array_from(row, "label") != NODATA
        height, width = min(64, 100 - line), min(64, 150 - col)
        assert inside.sum() == (label[line : line + 64, col : col + 64] != NODATA).sum()
        # Of three dates two are kept, the first and the last.
        np.testing.assert_array_equal(
            arrays.array_from(row, "pixels")[:, :, :height, :width],
            array[[0, 2]][:, :, line : line + height, col : col + width],
        )
    table = pa.Table.from_pylist(rows, schemas.SAMPLES)
    assert table.num_rows == 5


def test_every_box_of_a_large_image_is_in_one_window(tmp_path: Path) -> None:
    conf = DatasetConf(
        "images",
        str(tmp_path),
        {"task": "detect", "images": "{item}.tif", "table": "t.csv", "classes": "ship, pier"},
    )
    description = DATASETS["images"].describe(registry.options_of(conf))
    spec = from_datasets.DatasetSpec(
        tmp_path, "images", conf, description.encoding, 64, 1, description.legend, ((0, 0), (1, 1))
    )
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, (140, 90), (40, 2))
    boxes = np.column_stack(
        [np.arange(40) % 2, corner, np.minimum(corner + rng.uniform(2, 20, (40, 2)), (150, 100))]
    )
    example = Example(
        np.ones((1, 3, 100, 150), np.uint8), np.ones((1, 100, 150), bool), boxes.astype(np.float32)
    )
    rows = from_datasets.cut_example(ExampleItem("a", ("a.tif",)), example, spec)
    assert len(rows) == 6
    assert sum(sum(row["class_counts"]) for row in rows) == 40
    for row in rows:
        x, y = row["transform"][2], -row["transform"][5]
        for id_, left, top, right, bottom in arrays.array_from(row, "label"):
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64
            # Uncut sides are where they were.
            whole = boxes + np.array([0, -x, -y, -x, -y])
            same = np.isclose(whole[:, 1:].clip(0, 64), (left, top, right, bottom), atol=1e-4).all(
                1
            ) & (whole[:, 0] == id_)
            assert same.sum() == 1


@pytest.mark.skipif(not DATA.exists(), reason="shared/data is absent")
@pytest.mark.parametrize(
    ("name", "root", "count"), [("eurosat", "eurosat", 100), ("ucmerced", "ucmerced", 315)]
)
def test_real_archives_are_listed_and_read(
    name: str, root: str, count: int, tmp_path: Path
) -> None:
    conf = DatasetConf(name, str(DATA / root), size=256 if name == "ucmerced" else None)
    items = list_items(conf).items
    assert len(items) == count
    description = DATASETS[name].describe(registry.options_of(conf))
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        tmp_path,
        conf.name,
        conf,
        description.encoding,
        conf.size or 64,
        1,
        description.legend,
        codes,
    )
    for item in items[::40]:
        row = from_datasets.cut_example(item, from_datasets.read_example(spec, item), spec)[0]
        with rasterio.open(DATA / root / item.files[0]) as file:
            plain = file.read()
        shown = arrays.array_from(row, "pixels")[0]
        valid = arrays.unpack(row["valid"], (1, *shown.shape[1:]))[0]
        # Odd-sized images are filled up around.
        assert valid.sum() == plain.shape[1] * plain.shape[2]
        np.testing.assert_array_equal(shown[:, valid], plain.reshape(3, -1))


def test_files_hold_equal_shares_of_every_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    write_eurosat(root)
    monkeypatch.setattr("lulc.samples.table.GROUP_BYTES", 1 << 20)
    conf = DatasetConf("eurosat", str(root), {"bands": "ms"})
    description = DATASETS["eurosat"].describe(registry.options_of(conf))
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        tmp_path, conf.name, conf, description.encoding, 64, 1, description.legend, codes
    )
    items = list_items(conf).items
    keys = from_datasets.file_keys(
        "train",
        items,
        [1.0] * len(items),
        spec,
        from_datasets.read_example(spec, items[0]),
        "f" * 16,
    )
    sizes = [len(key["items"]) for key in keys]
    assert sum(sizes) == len(items)
    assert max(sizes) - min(sizes) <= 1
    rows = from_datasets.write_examples(keys[0], spec)
    assert (rows[0].status, rows[0].path) == (
        "done",
        f"tables/samples/split=train/eurosat-00000.{'f' * 16}.parquet",
    )
    assert store.read_footer(tmp_path / rows[0].path)["valid_pixels"] == sizes[0]
