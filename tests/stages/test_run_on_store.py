"""A whole run in an object store: every stage and every verb gives what it gives on a disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rasterio

from lulc.location import StorePath
from lulc.tables import store
from tests.helpers.cloud_emulators import AZURE_ACCOUNT
from tests.helpers.faulty_proxy import Faults
from tests.helpers.many_verbs import run_verbs
from tests.helpers.object_stores import SCHEMES, store_of
from tests.helpers.small_world import World

SECRETS = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
_SQL = "SELECT class_name, round(sum(area_m2)) AS m2 FROM class_areas GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True)
class Place:
    """A store on this machine, and a folder in which its users work."""

    bucket: StorePath
    faults: Faults
    folder: Path
    environment: dict[str, str]
    secret: str
    """A key to the store; "" where it asks for none."""

    def lulc(self, *commands: tuple[object, ...]) -> tuple[list[str], str]:
        """Carry out commands; return what each printed, and all that went to stderr."""
        answers, told = run_verbs(commands, self.environment, self.folder)
        assert [answer.code for answer in answers] == [0] * len(commands), told
        return [answer.printed for answer in answers], told


@pytest.fixture(scope="module", params=SCHEMES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An empty bucket, whose requests are counted."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "tmp").mkdir()
    with (
        store_of(request.param) as (root, variables, faults),
        pytest.MonkeyPatch.context() as patch,
    ):
        if "AWS_SECRET_ACCESS_KEY" in variables:
            variables["AWS_SECRET_ACCESS_KEY"] = "a secret that is easy to find again"
        # Azure's account is told apart from the address here, and in it where inputs are read.
        variables["AZURE_STORAGE_ACCOUNT_NAME"] = AZURE_ACCOUNT
        for name, value in variables.items():
            patch.setenv(name, value)
        environment = variables | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "TMPDIR": str(folder / "tmp"),
        }
        secret = next((variables[name] for name in SECRETS if name in variables), "")
        yield Place(StorePath(root.partition("@")[0]), faults, folder, environment, secret)


def test_a_run_in_a_store_is_that_of_a_disk(small: World, done: Path, place: Place) -> None:
    out, images = place.bucket / "run", place.folder / "pictures"
    _write_images(images, small)
    regions = small.run.parent / "regions.gpkg"
    maps = ("stats", "--regions", regions, "--out")
    tune = (
        "tune",
        small.run,
        "--out",
        out,
        "--over",
        "train.rate=0.003",
        "--set",
        "train.epochs=1",
    )
    predict = ("predict", "--model", "world", "--input", images, "--out")
    printed, told = place.lulc(
        ("run", small.run, "--out", out),
        ("sql", out, _SQL, "--json"),
        (*maps, place.bucket / "areas", "--rasters", f"2024={out}/rasters/2024/*/*.tif"),
        (*maps, place.folder / "areas", "--rasters", f"2024={done}/rasters/2024/*/*.tif"),
        (*predict, place.bucket / "images"),
        (*predict, place.folder / "images"),
        ("info", out),
        ("models", out),
        tune,
    )
    _check_equal(done, out)
    areas = store.read_table(done, "class_areas").to_pandas()
    local = areas.groupby("class_name").area_m2.sum().round()
    assert {row["class_name"]: row["m2"] for row in json.loads(printed[1])} == local.to_dict()
    on_disk, in_store = (
        store.read_table(root / "areas", "class_areas") for root in (place.folder, place.bucket)
    )
    assert in_store.equals(on_disk)
    mapped = sorted((place.folder / "images").rglob("*.tif"))
    assert mapped
    for raster in mapped:
        name = raster.relative_to(place.folder).as_posix()
        assert (place.bucket / name).read_bytes() == raster.read_bytes()
    assert "rows" in printed[6]
    assert "world/1 @champion" in printed[7]
    assert (out / "report.html").read_bytes()
    assert (out / "tables/trials/part-0.parquet").exists()
    _check_secret_nowhere(place, *printed, told)
    assert not list((place.folder / "tmp").glob("lulc-scratch-*/*"))


def test_a_second_run_does_nothing_in_few_requests(small: World, place: Place) -> None:
    out = place.bucket / "run"
    asked = place.faults.asked
    (printed,), _ = place.lulc(("run", small.run, "--out", out, "--json"))
    stages = json.loads(printed)["stages"]
    assert not any(stage["done"] for stage in stages)
    assert place.faults.asked - asked < 90


@pytest.mark.cluster
def test_the_account_of_an_address_is_worked_in_whatever_the_environment_names(
    small: World, done: Path, tmp_path: Path
) -> None:
    with store_of("abfs") as (root, variables, _), pytest.MonkeyPatch.context() as patch:
        variables["AZURE_STORAGE_ACCOUNT_NAME"] = "elsewhere"
        for name, value in variables.items():
            patch.setenv(name, value)
        assert AZURE_ACCOUNT in root
        out = StorePath(root, "of an account")
        count = "SELECT count(*) AS chips, sum(ST_Area(footprint)) > 0 AS placed FROM chips"
        verbs = (("index", small.run, "--out", out), ("tile", small.run, "--out", out))
        commands = (*verbs, ("sql", out, count, "--json"))
        answers, told = run_verbs(commands, variables, tmp_path)
        assert [answer.code for answer in answers] == [0] * len(commands), told
        chips = sorted((done / "tables/chips").rglob("*.parquet"))
        number = sum(pq.read_metadata(file).num_rows for file in chips)
        assert json.loads(answers[2].printed) == [{"chips": number, "placed": True}]
        for file in chips:
            place = out / file.relative_to(done).as_posix()
            assert place.read_bytes() == file.read_bytes()
        assert not list(tmp_path.iterdir())


def _check_equal(done: Path, out: StorePath) -> None:
    def names(root: Path | StorePath) -> list[str]:
        files = (
            f for kind in ("tables", "rasters", "confidence") for f in (root / kind).rglob("*")
        )
        found = [f.relative_to(root).as_posix() for f in files if f.is_file()]
        return sorted(
            name for name in found if not name.startswith(("tables/ledger", "tables/tri"))
        )

    assert names(out) == names(done)
    for name in names(done):
        if name.endswith((".parquet", ".tif", ".vrt", ".qml")):
            assert (out / name).read_bytes() == (done / name).read_bytes(), name
    weights = [root / "models/world-1/weights.safetensors" for root in (done, out)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def _check_secret_nowhere(place: Place, *printed: str) -> None:
    secret = place.secret.encode()
    written = [(str(file), file.read_bytes()) for file, _ in place.bucket.walk()]
    written += [(str(f), f.read_bytes()) for f in place.folder.rglob("*") if f.is_file()]
    written += [(text, text.encode()) for text in printed]
    assert len(written) > 100
    assert [name for name, content in written if secret and secret in content] == []


def _write_images(folder: Path, world: World) -> None:
    if folder.exists():
        return
    folder.mkdir()
    bands = [sorted(world.archive.glob(f"*_{band}.tif"))[0] for band in ("red", "nir", "swir16")]
    with rasterio.open(bands[0]) as first:
        profile = first.profile | {"count": len(bands)}
    with rasterio.open(folder / "image.tif", "w", **profile) as image:
        for number, band in enumerate(bands, 1):
            with rasterio.open(band) as file:
                image.write(file.read(1), number)
            image.set_band_description(number, ("red", "nir", "swir16")[number - 1])
