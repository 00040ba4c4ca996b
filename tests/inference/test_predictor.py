"""Maps equal one forward of the network for any window and block; only sound chips are mapped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lulc.config import Precision, PredictConf
from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.inference import blocks, windows
from lulc.inference.folded_norms import fold_norms
from lulc.inference.image_maps import _largest
from lulc.inference.predictor import load
from lulc.inference.suitability import compare_precision
from lulc.legend import NODATA
from lulc.models import package
from lulc.models.contract import Contract, read_contract
from lulc.models.package import CONTRACT, WEIGHTS
from lulc.models.tasks.augment import reduce, standardise
from lulc.models.tasks.segment import SEGMENT
from lulc.models.tasks.task import Batch, Scaling
from lulc.spark.context import StageContext
from lulc.stages import Selection
from lulc.tables import arrays, ledger, store
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_chips import (
    EXACT,
    TILING,
    cut_chips,
    make_run,
    make_spec,
    note_block,
    texture,
    write_chips,
)
from tests.helpers.tiny_samples import BANDS, LEGEND

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCALING = (1.0,) * 2, (0.0,) * 2

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make_model(tmp_path_factory.mktemp("models") / "untrained-local")


def plain_map(folder: Path, image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and confidence of one forward of the whole image, from pixels (T, C, H, W)."""
    contract = read_contract(folder / CONTRACT)
    net = untrained.make_net(contract, 0)
    scaling = Scaling(*SCALING, contract.mean, contract.std)
    days, label = torch.zeros(1, len(image), dtype=torch.int64), torch.zeros(1, *image.shape[2:])
    raw = Batch(
        torch.from_numpy(image)[None], torch.from_numpy(valid)[None], days, label, torch.ones(1)
    )
    found = standardise(reduce(raw, SEGMENT), scaling)
    ready, seen = found.pixels[:, 0], found.valid[:, 0]
    with torch.inference_mode():
        share, index = net(ready).softmax(1).max(1)
    empty = ~seen[0].numpy()
    classes = contract.legend.to_id()[index[0].numpy()]
    classes[empty] = NODATA
    return classes, np.where(empty, NODATA, share[0].numpy() * 100)


def test_the_likeliest_class_is_the_first_of_the_largest() -> None:
    shares = torch.from_numpy(
        np.random.default_rng(0).integers(0, 4, (2, 200, 8, 16)).astype(np.float32)
    )
    top, place = _largest(shares)
    assert torch.equal(top, shares.amax(1))
    np.testing.assert_array_equal(
        place, shares.numpy().argmax(1)
    )  # numpy's is the first of equal ones
    assert place.dtype == torch.uint8


def test_a_map_is_what_the_network_says_and_empty_where_no_date_is_valid(model: Path) -> None:
    image, valid = texture(96, 72, dates=3)
    classes, confidence = load(model).segment(image, valid, *SCALING, EXACT)
    expected, share = plain_map(model, image, valid)
    assert (classes == expected).mean() > 0.999
    assert np.abs(confidence - share).max() <= 0.51
    assert ((classes == NODATA) == ~valid.any(0)).all()
    assert ((confidence == NODATA) == ~valid.any(0)).all()
    assert set(np.unique(classes)) == {*LEGEND.ids, NODATA}
    rough = load(model).segment(image, valid, *SCALING, PredictConf(precision="bfloat16"))[0]
    assert (rough == expected).mean() > 0.97


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_the_precision_told_is_that_of_the_computation(
    model: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, how = load(model), PredictConf(precision=precision)
    dtypes: list[torch.dtype] = []
    hook = predictor.net.register_forward_hook(lambda *given: dtypes.append(given[2].dtype))
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has_bfloat16: has)
        predictor.segment(*texture(32, 32), *SCALING, how)
        assert f"torch.{predictor.precision(how)}" == str(dtypes[-1])
    hook.remove()


@pytest.mark.parametrize(
    ("trained", "computed", "text"),
    [
        (["bfloat16"], ["float32"], "computed in float32, trained in bfloat16"),
        (["float32"], ["float32", "bfloat16"], "computed in bfloat16, float32, trained in float32"),
        (["float32"], ["float32"], ""),
        ([""], ["float32"], ""),
        (["float32"], [], ""),
    ],
)
def test_another_precision_than_that_of_the_training_is_told(
    trained: list[str], computed: list[str], text: str
) -> None:
    assert compare_precision(trained, computed) == text


def test_scale_and_offset_are_those_of_the_chip(model: Path) -> None:
    image, valid = texture(64, 64)
    one, _ = load(model).segment(image, valid, *SCALING, EXACT)
    other, _ = load(model).segment(image // 2 * 2 // 2, valid, (2.0, 2.0), (0.0, 0.0), EXACT)
    shifted, _ = load(model).segment(
        image + 100 * valid[:, None].astype(np.uint16), valid, (1.0, 1.0), (-100.0, -100.0), EXACT
    )
    assert (one == shifted).mean() > 0.999
    assert (one == other).mean() > 0.98


@given(
    st.integers(0, 300),
    st.integers(1, 900),
    st.integers(0, 300),
    st.sampled_from([64, 96, 512]),
    st.sampled_from([8, 32]),
)
def test_windows_partition_the_core_with_its_margin_around_each(
    before: int, size: int, after: int, side: int, multiple: int
) -> None:
    length, margin = before + size + after, max(before, after) or windows.MARGIN
    found = list(windows.axis_windows(slice(before, before + size), length, side, multiple))
    kept = [k for _, k in found]
    assert [i for k in kept for i in range(k.start, k.stop)] == list(range(before, before + size))
    for computed, part in found:
        assert part.stop - part.start <= -(-side // multiple) * multiple
        assert computed.start % multiple == 0
        assert 0 <= computed.start <= max(0, part.start - margin)
        assert min(length, part.stop + margin) <= computed.stop <= length
        assert computed.stop - computed.start <= part.stop - part.start + 2 * margin + 2 * multiple


@pytest.mark.parametrize(("height", "width"), [(256, 200), (75, 300), (33, 5), (1, 1)])
def test_windows_and_odd_sizes_change_nothing_but_speed(
    model: Path, height: int, width: int
) -> None:
    image, valid = texture(height, width, seed=3)
    valid[:] = True
    predictor = load(model)
    whole = predictor.segment(image, valid, *SCALING, EXACT)[0]
    parts = predictor.segment(image, valid, *SCALING, replace(EXACT, window=64))[0]
    assert whole.shape == (height, width)
    assert (whole == parts).mean() > 0.9995
    assert not (whole == NODATA).any()


def test_flips_make_the_map_of_a_mirrored_image_the_mirrored_map(model: Path) -> None:
    image, valid = texture(64, 64)
    predictor, how = load(model), replace(EXACT, flips=True)
    one, sure = predictor.segment(image, valid, *SCALING, how)
    for axis in (-1, -2):
        other, _ = predictor.segment(np.flip(image, axis), np.flip(valid, axis), *SCALING, how)
        assert (np.flip(other, axis) == one).mean() > 0.999
    assert (one != predictor.segment(image, valid, *SCALING, EXACT)[0]).any()
    assert sure[valid[0]].max() <= 100


def test_a_window_without_a_valid_pixel_is_not_computed(model: Path) -> None:
    image, valid = texture(64, 320)
    valid[..., 64:] = False
    predictor = load(model)
    calls: list[torch.Size] = []
    hook = predictor.net.register_forward_pre_hook(lambda _, given: calls.append(given[0].shape))
    classes, _ = predictor.segment(image, valid, *SCALING, replace(EXACT, window=64))
    hook.remove()
    assert len(calls) == 1
    assert (classes[:, 64:] == NODATA).all()


class Crossed(nn.Module):
    """Neighbours in the list of modules that do not follow each other in the computation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.norm.running_mean.fill_(0.7)  # type: ignore[operator,union-attr]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(image))  # type: ignore[no-any-return]


def test_norms_are_folded_only_where_that_changes_nothing() -> None:
    contract = Contract("n", "segment", "unet", {}, BANDS, (0, 0), (1, 1), LEGEND, 10.0)
    net = untrained.make_net(contract, 1)
    folded = fold_norms(net, 2, 32)
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    crossed = Crossed().eval()
    assert fold_norms(crossed, 2, 8) is crossed


def test_a_model_is_kept_while_its_files_stay_and_refused_when_they_are_none(
    tmp_path: Path,
) -> None:
    folder = untrained.make_model(tmp_path / "m")
    first = load(folder)
    assert load(folder) is first
    untrained.make_model(folder, seed=1)
    os.utime(folder / WEIGHTS, ns=(1, 1))
    assert load(folder) is not first
    untrained.make_model(tmp_path / "other", bands=("a", "b", "c"))
    (folder / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(InputError, match="not those of its contract"):
        load(folder)
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"SafetensorError.*not those of its contract"):
        load(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        load(folder)


@pytest.mark.parametrize(("size", "halo", "span"), [(64, 80, 2), (64, 32, 3), (48, 76, 1)])
def test_blocks_of_tiles_together_are_the_map_of_the_whole_scene(
    model: Path, tmp_path: Path, size: int, halo: int, span: int
) -> None:
    tiling = Tiling("t", "EPSG:6933", 10.0, size)
    side = 6 * size
    image, valid = texture(side, side, dates=2)
    spec = make_spec(tmp_path, model, replace(EXACT, window=64 if span == 3 else 1024))
    found = np.full((side, side), 7, np.uint8)
    tiles = set()
    for block in range((6 // span) ** 2):
        first = block % (6 // span) * span, block // (6 // span) * span
        cells = [(first[0] + i, first[1] + j) for j in range(span) for i in range(span)]
        key = write_chips(
            tmp_path, f"{first[0]}_{first[1]}", cut_chips(image, valid, cells, halo, tiling)
        )
        (row,) = blocks.map_blocks([key], spec)
        assert row.status == "done"
        counted = 0
        for tile in store.read_rows(tmp_path / str(row.path)):
            col, line = tiling.parse(tile["tile_id"])
            assert arrays.grid_from(tile) == tiling.grid(col, line)
            classes = arrays.array_from(tile, "classes")
            found[line * size : (line + 1) * size, col * size : (col + 1) * size] = classes
            counts = dict(zip(tile["class_ids"], tile["class_counts"], strict=True)) | {
                NODATA: tile["nodata_count"]
            }
            ids, numbers = np.unique(classes, return_counts=True)
            assert {i: n for i, n in counts.items() if n} == dict(
                zip(ids.tolist(), numbers.tolist(), strict=True)
            )
            counted += size * size - tile["nodata_count"]
            tiles.add((col, line))
        assert row.valid_pixels == counted
    assert len(tiles) == 36
    # Beyond the scene lies what is not valid, for the whole as for the blocks.
    around = [(0, 0)] * 2 + [(80, 80)] * 2
    expected = plain_map(model, np.pad(image, around), np.pad(valid, around[1:]))[0][80:-80, 80:-80]
    # So deep a network sees some 75 pixels far, though it uses
    # little of them; an untrained one uses more.
    assert (found == expected).mean() > (0.9999 if halo > 75 else 0.9)


def test_missing_tiles_are_missing_and_change_nothing_far_away(model: Path, tmp_path: Path) -> None:
    image, valid = texture(192, 192)
    cells = [(col, row) for row in range(3) for col in range(3)]
    spec = make_spec(tmp_path, model)
    rows = {}
    for name, part in (("0_0", cells), ("3_0", cells[:-1])):
        key = write_chips(tmp_path, name, cut_chips(image, valid, part, 32))
        (row,) = blocks.map_blocks([key], spec)
        rows[name] = {
            tile["tile_id"]: tile["classes"] for tile in store.read_rows(tmp_path / str(row.path))
        }
    assert rows["0_0"].keys() - rows["3_0"].keys() == {TILING.tile_id(2, 2)}
    assert rows["0_0"][TILING.tile_id(0, 0)] == rows["3_0"][TILING.tile_id(0, 0)]


def test_chips_that_are_not_what_was_published_are_a_bad_row(model: Path, tmp_path: Path) -> None:
    image, valid = texture(64, 64)
    key = write_chips(tmp_path, "0_0", cut_chips(image, valid, [(0, 0)], 16))
    path = tmp_path / key["path"]
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    for harm in (bytes(whole), whole[: len(whole) // 2], None):
        path.unlink() if harm is None else path.write_bytes(harm)
        (row,) = blocks.map_blocks([key], make_spec(tmp_path, model))
        assert row.status == "bad"
        assert key["path"] in str(row.error)
        assert "lulc tile" in str(row.error)
    assert not (tmp_path / "tables" / "predictions").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": BANDS[::-1]}, "in this order"),
        ({"grid": Tiling("t", "EPSG:6933", 30.0, 64).grid(0, 0, 16)}, "pixels of 30 m"),
    ],
)
def test_chips_that_break_the_contract_stop_themake_run(
    model: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    key = write_chips(tmp_path, "0_0", cut_chips(*texture(64, 64), [(0, 0)], 16, **changes))
    with pytest.raises(InputError, match=message):
        list(blocks.map_blocks([key], make_spec(tmp_path, model)))


def test_another_process_writes_the_same_bytes(model: Path, tmp_path: Path) -> None:
    made = cut_chips(*texture(128, 128, dates=2), [(0, 0), (1, 0), (0, 1)], 32)
    outs = [tmp_path / name for name in ("here", "there")]
    keys = [write_chips(out, "0_0", made) for out in outs]
    how = PredictConf()
    (row,) = blocks.map_blocks([keys[0]], make_spec(outs[0], model, how))
    code = (
        "import json, sys; from pathlib import Path; from lulc.config import PredictConf\n"
        "from lulc.inference import blocks; from lulc.models import package\n"
        "from lulc.inference.predictor import use_one_core; use_one_core()\n"
        "out, model, key = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])\n"
        "ref = package.ModelRef('untrained', 'local', model, package.model_checksum(model))\n"
        "list(blocks.map_blocks([key], blocks.InferenceSpec(out, ref, PredictConf())))"
    )
    subprocess.run([sys.executable, "-c", code, outs[1], model, json.dumps(keys[1])], check=True)
    assert (outs[0] / str(row.path)).read_bytes() == (outs[1] / str(row.path)).read_bytes()


def test_stage_maps_what_changed_takes_up_what_was_lost_and_counts_what_is_bad(
    tmp_path: Path, spark: SparkSession
) -> None:
    from lulc.spark.stages.predict import predict as stage

    out = tmp_path / "out"
    folder = untrained.make_model(package.local_folder(out, "untrained"), precision="bfloat16")
    image, valid = texture(128, 256)
    keys = [
        write_chips(
            out,
            f"{col}_0",
            cut_chips(image, valid, [(c, r) for r in (0, 1) for c in (col, col + 1)], 16),
        )
        for col in (0, 2)
    ]
    for key in keys:
        note_block(out, key)
    context = StageContext(make_run(), out, Selection(), lambda: spark)
    idle = replace(context, spark=lambda: pytest.fail("Spark was started"))
    first = stage(context)
    assert (first.skipped, first.done, first.bad) == (0, 2, 0)
    assert first.note == "untrained version local, computed in float32, trained in bfloat16"

    # The same files, byte for byte, as the pure verb makes.
    table = out / "tables" / "predictions"
    made = {p.name: p.read_bytes() for p in table.rglob("*.parquet")}
    pure = make_spec(tmp_path / "pure", folder, context.config.predict)
    for key in keys:
        (tmp_path / "pure" / key["path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pure" / key["path"]).write_bytes((out / key["path"]).read_bytes())
        (row,) = blocks.map_blocks([key], pure)
        assert made[Path(str(row.path)).name] == (tmp_path / "pure" / str(row.path)).read_bytes()

    # Nothing to do; what the driver could not note is taken up again; neither starts Spark.
    assert (stage(idle).skipped, stage(idle).done) == (2, 0)
    for file in store.table_folder(out, "ledger").glob("*.parquet"):
        file.unlink()
    for key in keys:
        note_block(out, key)
    assert (stage(idle).skipped, stage(idle).done) == (2, 0)
    assert {r.path for r in ledger.read_latest(out, "predict").values() if r.path} == {
        p.relative_to(out).as_posix() for p in table.rglob("*.parquet")
    }

    # One deleted file is redone alone, also when its tile is chosen.
    victim = next(table.rglob("p.2_0.*"))
    victim.unlink()
    assert stage(replace(idle, selection=Selection(tiles=(TILING.tile_id(1, 1),)))).skipped == 1
    again = stage(replace(context, selection=Selection(tiles=(TILING.tile_id(3, 1),))))
    assert (again.skipped, again.done) == (0, 1)
    assert {p.name: p.read_bytes() for p in table.rglob("*.parquet")} == made

    # A legend or bands that are not the model's.
    with pytest.raises(InputError, match="legend"):
        stage(replace(idle, config=make_run(legend={7: {"name": "snow", "colour": "#ffffff"}})))

    # Another model redoes all; chips that were damaged meanwhile
    # have no map, and the old map is not used.
    untrained.make_model(folder, seed=1)
    path = out / keys[0]["path"]
    path.write_bytes(path.read_bytes()[:-100])
    other = stage(context)
    assert (other.skipped, other.done, other.bad) == (0, 1, 1)
    assert not {p.name for p in table.rglob("*.parquet")} & made.keys()
    assert ledger.read_latest(out, "predict")[keys[0]["key"]].status == "bad"

    # A block that is no more loses its map.
    ledger.append_ledger(out, [ledger.LedgerRow("tile", keys[1]["key"], "gone", status="empty")])
    stage(context)
    assert not list(table.rglob("*.parquet"))
    assert ledger.read_latest(out, "predict")[keys[1]["key"]].status == "dropped"
