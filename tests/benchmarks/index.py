"""index: one new file among many, and a search of many pages that is killed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lulc.tables import store
from tests.helpers.paging_catalogue import PagingCatalogue, serve_catalogue
from tests.helpers.synthetic_scenes import UTM33, write_raster

_COMMAND = [sys.executable, "-m", "tests.benchmarks._index"]


@dataclass(frozen=True)
class _Took:
    megabytes: float
    seconds: float
    told: str


def measure(quick: bool) -> dict[str, float]:
    """Figures by name.

    index.opened: items opened for one new file among `index.files`.
    index.again: CPU seconds of the driver for that ÷ those of the index of all.
    index.memory: peak memory of the driver for `index.items` items of a search ÷ for a tenth.
    index.pages: pages that are asked for again after the driver was killed at half.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = _one_new_file(folder / "files", 300 if quick else 20_000)
        return figures | _search(folder / "search", 3_000 if quick else 200_000)


def _one_new_file(folder: Path, count: int) -> dict[str, float]:
    first = _make_raster(folder / "archive/S_0.tif")
    for number in range(1, count):
        shutil.copyfile(first, folder / f"archive/S_{number}.tif")
    run = _write_run(folder, [{"path": "archive", "timeless": True}])
    all_files = _index(run, folder / "out")
    shutil.copyfile(first, folder / f"archive/S_{count}.tif")
    again = _index(run, folder / "out")
    found = re.search(r"(\d+) new, (\d+) changed and (\d+) gone", again.told)
    assert found, again.told
    assert store.read_table(folder / "out", "scenes", ["scene_id"]).num_rows == count + 1
    return {
        "index.files": count,
        "index.opened": int(found[1]) + int(found[2]),
        "index.again": again.seconds / all_files.seconds,
    }


def _search(folder: Path, count: int) -> dict[str, float]:
    raster = _make_raster(folder / "pixels.tif")
    catalogue = PagingCatalogue(count // 10, _make_item)
    with serve_catalogue(catalogue) as url:
        took = []
        for number in (count // 10, count):
            catalogue.count, catalogue.asked = number, []
            out = folder / f"out{number}"
            (out / "searches").mkdir(parents=True)
            shutil.copyfile(raster, out / "searches/pixels.tif")
            search = {"catalogue": url, "collections": ["c"]}
            run = _write_run(folder, [{"search": search, "timeless": True}])
            if number == count:
                _kill_at_half(run, out, catalogue)
            took.append(_index(run, out))
            assert store.read_table(out, "scenes", ["scene_id"]).num_rows == number
    pages = -(-count // catalogue.page)
    return {
        "index.items": count,
        "index.memory": took[1].megabytes / took[0].megabytes,
        "index.pages": len(catalogue.asked) - pages,
    }


def _kill_at_half(run: Path, out: Path, catalogue: PagingCatalogue) -> None:
    with subprocess.Popen([*_COMMAND, run, out], stderr=subprocess.DEVNULL) as process:
        while len(catalogue.asked) * catalogue.page < catalogue.count / 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


def _index(run: Path, out: Path) -> _Took:
    ran = subprocess.run([*_COMMAND, run, out], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    took = json.loads(ran.stdout.splitlines()[-1])
    assert took["code"] == 0, ran.stderr
    print(f"  {out.parent.name}: {took['MB']:.0f} MB, {took['CPU s']:.1f} CPU s", flush=True)
    return _Took(took["MB"], took["CPU s"], ran.stderr + ran.stdout)


def _write_run(folder: Path, scenes: list[dict[str, Any]]) -> Path:
    run = {
        "name": "index",
        "scenes": scenes,
        "bands": ["b1"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "spark": {"memory": "1g"},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def _make_raster(path: Path) -> Path:
    grid = UTM33.window(0, 0, 8, 8)
    return write_raster(path, np.ones(grid.shape, "uint16"), grid, nodata=0)


def _make_item(number: int) -> dict[str, Any]:
    # As large as one of Sentinel-2; the copy of its one file lies beside the answer.
    asset = {"href": "https://data.example.org/pixels.tif", "type": "image/tiff"}
    about = {"description": "x" * 800, "roles": ["thumbnail"], "type": "image/png"}
    others = {f"other{n}": {"href": f"https://data.example.org/{n}.png"} | about for n in range(9)}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2A_{number:06d}",
        "collection": "c",
        "links": [],
        "properties": {"datetime": "2023-01-15T10:00:00Z", "eo:cloud_cover": 1.0},
        "assets": {"b1": asset} | others,
    }
