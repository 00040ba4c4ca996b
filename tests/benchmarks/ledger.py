"""ledger: a run that does nothing, whose ledger has a million rows."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from lulc.chips.tiling import make_tiling
from lulc.models.package import LOCAL
from lulc.runfile import read_run
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork
from lulc.spark.pipeline import run_stage
from lulc.stages import Selection
from lulc.tables import layout, ledger_files, schemas
from lulc.tables.layout import BlockKey
from lulc.tables.ledger import STAGE_KEY, LedgerRow, append_ledger, read_ledger
from lulc.yaml12 import dump_yaml
from tests.helpers.small_world import GRID, SCRIPTS
from tests.helpers.synthetic_scenes import write_raster
from tests.helpers.tiny_samples import BANDS, LEGEND
from tests.helpers.untrained_model import make_model

_BLOCKS, _PERIODS = 82_000, 6  # two stages of them are nearly a million rows
_STAGES = ("tile", "predict", "rasters", "stats")


def measure(quick: bool) -> dict[str, float]:
    """CPU seconds of `lulc run` with nothing to do, by name, and how many rows its ledger has.

    ledger.10, ledger.1000: where the rows are in so many files. ledger.bare: of a run of one block,
    which is what the command costs by itself.
    """
    blocks = 500 if quick else _BLOCKS
    with tempfile.TemporaryDirectory() as temporary:
        one, many = Path(temporary) / "one", Path(temporary) / "many"
        figures = {}
        for folder, count in ((one, 1), (many, blocks)):
            _write_inputs(folder)
            _lulc(folder, "index")
            with patch.object(ledger_files, "_FILES_AT_MOST", 10**6):
                _make_up(folder, count)
        figures["ledger.bare"] = _lulc(folder=one, verb="run")
        rows = read_ledger(many / "out")
        figures["ledger.rows"] = rows.num_rows
        for file_count in (10, 1000):
            _deal(many / "out", rows, file_count)
            figures[f"ledger.{file_count}"] = _lulc(many, "run")
        return figures


def _write_inputs(folder: Path) -> None:
    for band in BANDS:
        pixels = np.full(GRID.shape, 1000, "uint16")
        write_raster(folder / "archive" / f"S_20240601_{band}.tif", pixels, GRID, nodata=0)
    periods = [{"name": f"p{n}", "start": "2024-01-01"} for n in range(_PERIODS)]
    settings = {
        "name": "many",
        "scenes": [
            {"path": "archive", "pattern": "{scene}_{date}_{band}.tif", "unmasked": "allow"}
        ],
        "bands": list(BANDS),
        "periods": periods,
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in LEGEND.classes},
        "predict": {"model": "untrained"},
        "spark": {"master": "local[2]", "memory": "1g"},
    }
    (folder / "run.yaml").write_text(dump_yaml(settings))
    make_model(folder / "out" / layout.model_folder("untrained", LOCAL))


def _lulc(folder: Path, verb: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command: list[str | Path] = [
        SCRIPTS / "lulc",
        verb,
        folder / "run.yaml",
        "--out",
        folder / "out",
        "--json",
    ]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if verb == "run":
        assert not any(stage["done"] for stage in json.loads(ended.stdout)["stages"])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _make_up(folder: Path, blocks: int) -> None:
    # Every stage as if it had made so many blocks, its files empty.
    config, out = read_run(folder / "run.yaml"), folder / "out"
    tiling = make_tiling(config)
    keys = [
        BlockKey(period.name, tiling.name, 4 * (n % 300), 4 * (n // 300))
        for period in config.periods
        for n in range(blocks)
    ]

    def cut(_: StageContext, work: StageWork) -> StageResult:
        fingerprints = [f"{n:016x}" for n in range(len(keys))]
        paths = [layout.block_file("chips", k, f) for k, f in zip(keys, fingerprints, strict=True)]
        return _record(out, work, map(str, keys), fingerprints, paths)

    def settle(_: StageContext, work: StageWork) -> StageResult:
        units = work.plan({})
        paths = [str(unit.path) for unit in units]
        fingerprints = [unit.fingerprint for unit in units]
        return _record(out, work, (unit.key for unit in units), fingerprints, paths)

    def settle_whole(
        _: StageContext, stage: str, fingerprint: str, path: str, *_rest: Any
    ) -> StageResult:
        work = StageWork(stage, fingerprint, lambda bad: [], lambda todo: [])  # noqa: ARG005
        return _record(out, work, [path], [fingerprint], [path])

    def no_spark() -> Any:
        raise AssertionError("nothing is computed here")

    of = "lulc.spark.stages."
    context = StageContext(config, out, Selection(), no_spark)
    with (
        patch(f"{of}tile.run_incremental", cut),
        patch(f"{of}predict.run_incremental", settle),
        patch(f"{of}rasters.run_incremental", settle),
        patch(f"{of}stats.run_whole", settle_whole),
    ):
        for stage in _STAGES:
            run_stage(stage, context)
    for name in (layout.REPORT, layout.MAP_PICTURE):
        (out / name).touch()


def _record(
    out: Path,
    work: StageWork,
    keys: Iterable[str],
    fingerprints: Sequence[str],
    paths: Sequence[str],
) -> StageResult:
    files = {file for path in paths for file in work.files_of(path)} | {*work.other_files}
    for folder in {(out / file).parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (out / file).touch()
    row = LedgerRow(work.stage, "", "", seconds=1.5, valid_pixels=4_000_000).to_row()
    columns = {name: [value] * len(paths) for name, value in row.items()}
    columns |= {"key": list(keys), "fingerprint": list(fingerprints), "path": list(paths)}
    columns["checksum"] = [4 * fingerprint for fingerprint in fingerprints]
    ledger_files.append_rows(out, pa.table(columns, schemas.LEDGER))
    append_ledger(out, [LedgerRow(work.stage, STAGE_KEY, work.fingerprint)])
    return StageResult(work.stage)


def _deal(out: Path, rows: pa.Table, file_count: int) -> None:
    # The ledger anew, in so many files.
    shutil.rmtree(out / layout.table("ledger"))
    size = -(-rows.num_rows // file_count)
    with patch.object(ledger_files, "_FILES_AT_MOST", 10**6), ledger_files.read_once(out):
        for start in range(0, rows.num_rows, size):
            ledger_files.append_rows(out, rows.slice(start, size))
