"""Sentinel-1 GRD: geolocation, calibration and noise against a direct computation; bad products."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.control import GroundControlPoint

from lulc.chips.chip import choose_encoding
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo import areas, overlap
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.geo.swath import Swath
from lulc.geo.tiling import Tiling
from lulc.sources import radar, registry, sentinel1_grd
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from tests.helpers.synthetic_scenes import cut_short

NAME = "S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8"
HEIGHT, WIDTH = 500, 700
LINES, PIXELS = (0, 150, 300, 450, 499), (0, 140, 280, 420, 560, 699)


@dataclass(frozen=True)
class Orbit:
    """A smooth mapping of line and pixel to longitude and latitude; rows turn by `turn`°."""

    lon: float = 11.0
    lat: float = 46.0
    turn: float = 194.0
    side: float = 10.0

    @property
    def crs(self) -> str:
        return f"+proj=laea +lat_0={self.lat} +lon_0={self.lon} +datum=WGS84"

    def place(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of centres of pixels; the range direction bends a little."""
        y, x = (HEIGHT / 2 - row) * self.side, (col - WIDTH / 2) * self.side
        x, y = x + x * x / 2e6, y + x * y / 3e6
        turn = np.radians(self.turn)
        x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        return transformer(self.crs, WGS84).transform(x, y)


def gain(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """A calibration table that is linear between its own points."""
    return 300 + 0.05 * col + 0.02 * row


def range_noise(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    return 400 + 0.5 * col + 0 * row


def make_numbers(seed: int = 0) -> np.ndarray:
    """Digital numbers (H, W) with a border of no data, some below the noise."""
    numbers = np.random.default_rng(seed).integers(5, 300, (HEIGHT, WIDTH)).astype("uint16")
    numbers[:, :12] = 0
    numbers[-7:] = 0
    return numbers


def vectors(
    tag: str,
    lines: tuple[int, ...],
    tables: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]],
) -> str:
    pixels = np.array([*range(0, WIDTH, 40), WIDTH - 1])
    text = ""
    for line in lines:
        values = "".join(
            f'<{name} count="{len(pixels)}">'
            f"{' '.join(f'{v:.9e}' for v in table(np.array(line), pixels))}</{name}>"
            for name, table in tables.items()
        )
        text += (
            f'<{tag}><line>{line}</line><pixel count="{len(pixels)}">'
            f"{' '.join(map(str, pixels))}</pixel>{values}</{tag}>"
        )
    return f"<{tag}List>{text}</{tag}List>"


AZIMUTH = (((0, 249), (0, 349), 1.0), ((250, 499), (0, 349), 1.5), ((0, 499), (350, 699), 0.8))


def noise_xml(blocks: bool = True) -> str:
    if not blocks:
        return f"<noise>{vectors('noiseVector', (0, 499), {'noiseLut': range_noise})}</noise>"
    azimuth = "".join(
        f"<noiseAzimuthVector><swath>IW1</swath><firstAzimuthLine>{a}</firstAzimuthLine>"
        f"<firstRangeSample>{c}</firstRangeSample>"
        f"<lastAzimuthLine>{b}</lastAzimuthLine><lastRangeSample>{d}</lastRangeSample>"
        f'<line count="2">{a} {b}</line><noiseAzimuthLut count="2">{v} {v}</noiseAzimuthLut>'
        "</noiseAzimuthVector>"
        for (a, b), (c, d), v in AZIMUTH
    )
    ranged = vectors("noiseRangeVector", (0, 250, 499), {"noiseRangeLut": range_noise})
    return f"<noise>{ranged}<noiseAzimuthVectorList>{azimuth}</noiseAzimuthVectorList></noise>"


def make_product(
    folder: Path,
    orbit: Orbit = Orbit(),
    removed: bool = False,
    blocks: bool = True,
    ipf: str = "003.31",
    suffix: str = ".SAFE",
) -> Path:
    """A GRD product in its true layout; numbers by `make_numbers`, seeds 0 (vv) and 1 (vh)."""
    root = folder / f"{NAME}{suffix}"
    (root / "annotation" / "calibration").mkdir(parents=True)
    (root / "measurement").mkdir()
    (root / "manifest.safe").write_text(
        '<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1"'
        ' xmlns:safe="http://www.esa.int/safe/sentinel-1.0">'
        f'<safe:software name="Sentinel-1 IPF" version="{ipf}"/>'
        '<safe:relativeOrbitNumber type="start">168</safe:relativeOrbitNumber></xfdu:XFDU>'
    )
    points = "".join(
        "<geolocationGridPoint><azimuthTime>2021-04-01T05:26:23.794457</azimuthTime>"
        f"<line>{line}</line><pixel>{pixel}</pixel><latitude>{lat:.15e}</latitude>"
        f"<longitude>{lon:.15e}</longitude><height>1.0e+02</height></geolocationGridPoint>"
        for line in LINES
        for pixel in PIXELS
        for lon, lat in [orbit.place(np.array(float(line)), np.array(float(pixel)))]
    )
    corners = [(line, pixel) for line in (0, HEIGHT - 1) for pixel in (0, WIDTH - 1)]
    gcps = [
        GroundControlPoint(r, c, *map(float, orbit.place(np.array(float(r)), np.array(float(c)))))
        for r, c in corners
    ]
    for seed, polarisation in enumerate(("vv", "vh")):
        stem = (
            f"s1b-iw-grd-{polarisation}-20210401t052623-20210401t052648-026269-032297-00{seed + 1}"
        )
        with rasterio.open(
            root / "measurement" / f"{stem}.tiff",
            "w",
            driver="GTiff",
            width=WIDTH,
            height=HEIGHT,
            count=1,
            dtype="uint16",
            gcps=gcps,
            crs="EPSG:4326",
        ) as file:
            file.write(make_numbers(seed), 1)
        (root / "annotation" / f"{stem}.xml").write_text(
            "<product><adsHeader><missionId>S1B</missionId><mode>IW</mode>"
            "<startTime>2021-04-01T05:26:23.794457</startTime></adsHeader>"
            "<generalAnnotation><productInformation><pass>Descending</pass></productInformation>"
            "</generalAnnotation><imageAnnotation><imageInformation>"
            f"<rangePixelSpacing>{orbit.side:e}</rangePixelSpacing>"
            f"<azimuthPixelSpacing>{orbit.side:e}</azimuthPixelSpacing>"
            f"<numberOfSamples>{WIDTH}</numberOfSamples><numberOfLines>{HEIGHT}</numberOfLines>"
            "</imageInformation><processingInformation><thermalNoiseCorrectionPerformed>"
            f"{str(removed).lower()}</thermalNoiseCorrectionPerformed>"
            "</processingInformation></imageAnnotation>"
            f"<geolocationGrid><geolocationGridPointList>{points}</geolocationGridPointList>"
            "</geolocationGrid></product>"
        )
        tables = {"sigmaNought": gain, "gamma": lambda row, col: 0.9 * gain(row, col)}
        (root / "annotation" / "calibration" / f"calibration-{stem}.xml").write_text(
            "<calibration>"
            f"{vectors('calibrationVector', (-60, 200, 460, 720), tables)}</calibration>"
        )
        (root / "annotation" / "calibration" / f"noise-{stem}.xml").write_text(noise_xml(blocks))
    return root


def expected(
    seed: int = 0, factor: float = 1.0, removed: bool = False, blocks: bool = True
) -> np.ndarray:
    """Backscatter (H, W) by the formula, pixel by pixel."""
    row, col = np.mgrid[:HEIGHT, :WIDTH]
    azimuth = np.ones((HEIGHT, WIDTH))
    for (a, b), (c, d), v in AZIMUTH if blocks else ():
        azimuth[a : b + 1, c : d + 1] = v
    noise = 0 if removed else range_noise(row, col) * azimuth
    return (
        np.maximum(make_numbers(seed).astype(float) ** 2 - noise, 0)
        / (factor * gain(row, col)) ** 2
    )


def read_all(path: Path, wanted: tuple[str, ...] = (), **rest: object) -> list[Scene]:
    archive = Archive(str(path), **rest)  # type: ignore[arg-type]
    source = registry.source_of(archive)
    assert source.name == "sentinel1"
    return [source.read(item, archive, wanted) for item in source.items(archive)]


def native_grid(orbit: Orbit = Orbit()) -> tuple[Grid, np.ndarray, np.ndarray]:
    """A 10 m grid around the scene's middle, and its pixels' true row and column in the scene."""
    grid = Grid(orbit.crs, (10.0, 0.0, -1003.0, 0.0, -10.0, 1507.0), 300, 200)
    x, y = grid.affine @ np.meshgrid(np.arange(200) + 0.5, np.arange(300) + 0.5)
    row, col = np.full(x.shape, HEIGHT / 2), np.full(x.shape, WIDTH / 2)
    back = transformer(WGS84, orbit.crs)
    for _ in range(
        30
    ):  # The mapping is inverted by its own steps: it is a turn but for a small bend.
        px, py = back.transform(*orbit.place(row, col))
        turn = np.radians(orbit.turn)
        dx, dy = x - px, y - py
        col = col + (dx * np.cos(turn) - dy * np.sin(turn)) / orbit.side
        row = row - (dx * np.sin(turn) + dy * np.cos(turn)) / orbit.side
    return grid, row, col


def test_a_product_is_a_scene_of_its_polarisations(tmp_path: Path) -> None:
    root = make_product(tmp_path)
    (scene,) = read_all(tmp_path)
    assert (scene.scene_id, scene.source, scene.crs) == (NAME, "sentinel1", "EPSG:4326")
    assert scene.datetime == datetime(2021, 4, 1, 5, 26, 23, 794457, tzinfo=UTC)
    assert {(b.name, b.dtype, b.calibration, b.unit) for b in scene.bands} == {
        ("vv", "float32", "sigma0", "sigma0"),
        ("vh", "float32", "sigma0", "sigma0"),
    }
    assert scene.gsd_m == pytest.approx(10)
    assert dict(scene.properties)["relative_orbit"] == "168"
    assert dict(scene.properties)["platform"] == "sentinel-1b"
    assert scenes_from_table(scenes_to_table([scene])) == [scene]
    assert [s.bands for s in read_all(root)] == [scene.bands]
    (vh,) = read_all(tmp_path, ("hv",), bands={"vh": "hv"}, calibration="gamma0")
    assert [(b.name, b.calibration, "-vh-" in b.href) for b in vh.bands] == [("hv", "gamma0", True)]
    with pytest.raises(InputError, match="no band hh; it has"):
        read_all(tmp_path, ("hh",))
    with pytest.raises(InputError, match=r"scenes\.quality is not for Sentinel-1"):
        read_all(tmp_path, quality="SCL")


@pytest.mark.parametrize(
    "orbit",
    [Orbit(), Orbit(lon=179.99, lat=-17.0), Orbit(lat=86.0, lon=-180.0, turn=95.0, side=40.0)],
    ids=["alps", "fiji", "arctic"],
)
def test_places_are_those_of_the_tie_points(tmp_path: Path, orbit: Orbit) -> None:
    make_product(tmp_path, orbit)
    (scene,) = read_all(tmp_path)
    swath = sentinel1_grd.read_measurement(scene.bands[0].href).swath
    row, col = np.mgrid[0:HEIGHT:7, 0:WIDTH:9].astype(float)
    x, y = swath.locate(*orbit.place(row, col))
    assert np.abs(x - col - 0.5).max() < 0.01
    assert np.abs(y - row - 0.5).max() < 0.01
    # Around the border too, where the outer half pixel and what lies beyond it have coordinates.
    row, col = np.array([-0.5, -30.0, HEIGHT + 20.0]), np.array([-0.5, 300.0, WIDTH + 20.0])
    x, y = swath.locate(*orbit.place(row, col))
    assert np.abs([x - col - 0.5, y - row - 0.5]).max() < 0.2
    outline = shapely.from_wkb(scene.footprint)
    inside = shapely.points(*orbit.place(np.array([3.0, 250, 496]), np.array([4.0, 350, 690])))
    outside = shapely.points(*orbit.place(np.array([-4.0, 250]), np.array([350.0, WIDTH + 3])))
    assert shapely.covers(outline, inside).all()
    assert not shapely.intersects(outline, outside).any()
    assert outline.is_valid and outline.bounds[0] >= -180 and outline.bounds[2] <= 180
    assert areas.degrees_area(outline) == pytest.approx(HEIGHT * WIDTH * orbit.side**2, rel=0.01)


def test_far_places_have_no_coordinates(tmp_path: Path) -> None:
    make_product(tmp_path)
    (scene,) = read_all(tmp_path)
    swath = sentinel1_grd.read_measurement(scene.bands[0].href).swath
    x, y = swath.locate(np.array([-169.0, 100.0, np.inf]), np.array([-46.0, 0.0, np.nan]))
    assert np.isnan(x).all() and np.isnan(y).all()
    far = Grid("EPSG:4326", (0.001, 0.0, -170.0, 0.0, -0.001, -45.0), 40, 40)
    _, valid = radar.read_backscatter(scene.bands[0].href, "sigma0", far, "bilinear")
    assert not valid.any()
    near = Grid("EPSG:4326", (0.001, 0.0, 12.0, 0.0, -0.001, 45.0), 40, 40)
    assert not radar.read_backscatter(scene.bands[0].href, "sigma0", near, "bilinear")[1].any()


@pytest.mark.parametrize(
    ("calibration", "removed", "blocks"),
    [
        ("sigma0", False, True),
        ("gamma0", False, True),
        ("sigma0", False, False),
        ("sigma0", True, True),
    ],
    ids=["sigma0", "gamma0", "before 2.9", "removed before"],
)
def test_values_are_those_of_the_formula(
    tmp_path: Path, calibration: str, removed: bool, blocks: bool
) -> None:
    make_product(tmp_path, removed=removed, blocks=blocks)
    (scene,) = read_all(tmp_path, ("vh",), calibration=calibration)
    (band,) = scene.bands
    grid, row, col = native_grid()
    values, valid = radar.read_backscatter(band.href, band.calibration, grid, "nearest")
    truth = expected(1, 0.9 if calibration == "gamma0" else 1.0, removed, blocks)
    # A pixel whose centre is a hair from an edge may be its neighbour.
    sure = (np.abs(row % 1 - 0.5) > 0.02) & (np.abs(col % 1 - 0.5) > 0.02)
    at = np.rint(row).astype(int), np.rint(col).astype(int)
    assert values.dtype == np.float32
    assert valid.all()
    assert sure.mean() > 0.9
    np.testing.assert_allclose(values[sure], truth[at][sure], rtol=3e-7, atol=1e-12)
    assert (values == 0).any() == (not removed)
    smooth, _ = radar.read_backscatter(band.href, band.calibration, grid, "bilinear")
    low, left = np.floor(row).astype(int), np.floor(col).astype(int)
    down, along = row - low, col - left
    direct = sum(
        weight * truth[low + i, left + j]
        for i, j, weight in [
            (0, 0, (1 - down) * (1 - along)),
            (0, 1, (1 - down) * along),
            (1, 0, down * (1 - along)),
            (1, 1, down * along),
        ]
    )
    assert np.abs(smooth - direct).max() < 0.01 * truth.max()


def test_values_across_the_antimeridian(tmp_path: Path) -> None:
    orbit = Orbit(lon=179.99, lat=-17.0)
    make_product(tmp_path, orbit)
    (scene,) = read_all(tmp_path, ("vv",))
    east = Grid("EPSG:4326", (1e-4, 0.0, 179.985, 0.0, -1e-4, -16.992), 160, 250)
    west = Grid("EPSG:4326", (1e-4, 0.0, -180.015, 0.0, -1e-4, -16.992), 160, 250)
    values, valid = radar.read_backscatter(scene.bands[0].href, "sigma0", east, "bilinear")
    again, known = radar.read_backscatter(scene.bands[0].href, "sigma0", west, "bilinear")
    assert valid.all() and known.all()
    np.testing.assert_allclose(values, again, rtol=1e-3, atol=1e-5)
    assert values.mean() == pytest.approx(expected()[100:400, 200:500].mean(), rel=0.1)


def test_no_data_at_the_border_is_not_valid(tmp_path: Path) -> None:
    make_product(tmp_path)
    (scene,) = read_all(tmp_path)
    orbit = Orbit()
    whole = Grid(orbit.crs, (20.0, 0.0, -6000.0, 0.0, -20.0, 6000.0), 600, 600)
    values, valid = radar.read_backscatter(scene.bands[0].href, "sigma0", whole, "average")
    area = (HEIGHT - 7) * (WIDTH - 12) * orbit.side**2
    assert valid.sum() * 400 == pytest.approx(area, rel=0.02)
    assert (values[~valid] == 0).all()
    truth = expected()[:-7, 12:].mean()
    assert values[valid].mean() == pytest.approx(truth, rel=0.01)


def test_pixels_without_noise_annotated_are_not_valid(tmp_path: Path) -> None:
    root = make_product(tmp_path)
    for path in (root / "annotation" / "calibration").glob("noise-*"):
        path.write_text(path.read_text().replace("<lastRangeSample>699<", "<lastRangeSample>399<"))
    (scene,) = read_all(tmp_path)
    grid, _, col = native_grid()
    _, valid = radar.read_backscatter(scene.bands[0].href, "sigma0", grid, "nearest")
    assert (valid == (np.rint(col) < 400)).mean() > 0.999


def test_radar_is_cut_into_chips(tmp_path: Path) -> None:
    make_product(tmp_path)
    (scene,) = read_all(tmp_path, ("vv", "vh"))
    tiling = Tiling("t", Orbit().crs, 10.0, 64, -1000.0, 1000.0)
    found = cut_block(
        [scene],
        ChipSpec(tiling, choose_encoding([scene], ("vv", "vh")), halo=16, span=1),
        1,
        1,
        "all",
    )
    (chip,) = found.chips
    assert not found.unreadable
    assert chip.pixels.dtype == np.float32 and chip.valid.all()
    values, _ = radar.read_backscatter(scene.bands[1].href, "sigma0", chip.grid, "bilinear")
    assert np.array_equal(chip.pixels[0, 1], values)


def test_a_zip_gives_the_same(tmp_path: Path) -> None:
    root = make_product(tmp_path / "folder")
    for name in (f"{NAME}.zip", f"{NAME}.SAFE.zip"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(root.rglob("*")):
                packed.write(path, path.relative_to(root.parent))
        (scene,) = read_all(folder)
        (plain,) = read_all(tmp_path / "folder")
        assert (scene.scene_id, scene.footprint, scene.properties) == (
            plain.scene_id,
            plain.footprint,
            plain.properties,
        )
        grid, _, _ = native_grid()
        for one, other in zip(scene.bands, plain.bands, strict=True):
            values, valid = radar.read_backscatter(one.href, "sigma0", grid, "bilinear")
            again, known = radar.read_backscatter(other.href, "sigma0", grid, "bilinear")
            assert np.array_equal(values, again) and np.array_equal(valid, known)
        assert read_all(folder / name)[0].bands == scene.bands


def test_files_under_the_short_names_of_clouds_give_the_same(tmp_path: Path) -> None:
    root = make_product(tmp_path / "safe")
    (plain,) = read_all(tmp_path / "safe")
    # As the Planetary Computer and AWS keep products.
    copy = tmp_path / "cloud" / NAME
    shutil.copytree(root, copy)
    for path in sorted(file for file in copy.rglob("*-grd-*")):
        path.rename(path.with_name(re.sub(r"s1b-iw-grd-(v[vh])-[^.]*", r"iw-\1", path.name)))
    assert (copy / "annotation" / "calibration" / "noise-iw-vv.xml").exists()
    for place in (copy, copy.parent):
        (scene,) = read_all(place)
        assert (scene.scene_id, scene.footprint) == (plain.scene_id, plain.footprint)
        grid, _, _ = native_grid()
        for one, other in zip(scene.bands, plain.bands, strict=True):
            assert one.name == other.name
            values, valid = radar.read_backscatter(one.href, "sigma0", grid, "bilinear")
            again, known = radar.read_backscatter(other.href, "sigma0", grid, "bilinear")
            assert np.array_equal(values, again) and np.array_equal(valid, known)


def damage_points(text: str) -> str:
    return text.replace("<line>150</line><pixel>140</pixel>", "<line>151</line><pixel>140</pixel>")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
DAMAGE: dict[str, tuple[str, Callable[[str], str], str]] = {
    "cut xml": ("annotation/s1b*-vv-*", lambda t: t[: len(t) // 2], "not plain XML"),
    "bomb": ("annotation/s1b*-vv-*", lambda t: BOMB + t, "not plain XML"),
    "points": ("annotation/s1b*-vv-*", damage_points, "geolocation grid"),
    "latitude": (
        "annotation/s1b*-vv-*",
        lambda t: t.replace("<latitude>4", "<latitude>94"),
        "geolocation grid",
    ),
    "lines": (
        "annotation/s1b*-vv-*",
        lambda t: t.replace("Lines>500<", "Lines>499<"),
        "annotation",
    ),
    "unknown noise": (
        "annotation/s1b*-vv-*",
        lambda t: t.replace("thermalNoise", "thermal"),
        "thermalNoiseCorrectionPerformed",
    ),
    "gain": (
        "annotation/calibration/calibration-*-vv-*",
        lambda t: re.sub(r"(<sigmaNought [^>]*>)", r"\1-", t),
        "sigmaNought",
    ),
    "gains": (
        "annotation/calibration/calibration-*-vv-*",
        lambda t: t.replace("sigmaNought", "sigma"),
        "sigmaNought",
    ),
    "nan": (
        "annotation/calibration/noise-*-vv-*",
        lambda t: t.replace("4.000000000e+02", "NaN", 1),
        "noiseRangeLut",
    ),
    "no noise": ("annotation/calibration/noise-*-vv-*", lambda _: "<noise/>", "noiseLut"),
    "ipf": ("manifest.safe", lambda t: t.replace("003.31", "002.36"), "another unit"),
}


@pytest.mark.parametrize(("pattern", "change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_metadata_is_refused(
    tmp_path: Path, pattern: str, change: Callable[[str], str], message: str
) -> None:
    root = make_product(tmp_path)
    (path,) = root.glob(pattern)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        read_all(tmp_path, ("vv",))
    if path.name != "manifest.safe":  # What is not asked for harms nothing.
        assert [b.name for b in read_all(tmp_path, ("vh",))[0].bands] == ["vh"]


def test_missing_and_cut_files_are_refused(tmp_path: Path) -> None:
    root = make_product(tmp_path)
    (scene,) = read_all(tmp_path, ("vv",))
    grid, _, _ = native_grid()
    cut_short(Path(scene.bands[0].href))
    with pytest.raises(InputError, match="tiff"):
        radar.read_backscatter(scene.bands[0].href, "sigma0", grid, "bilinear")
    tiling = Tiling("t", Orbit().crs, 10.0, 64, -1000.0, 1000.0)
    found = cut_block(
        [scene], ChipSpec(tiling, choose_encoding([scene], ("vv",)), halo=16, span=1), 1, 1, "all"
    )
    assert list(found.unreadable) == [NAME] and not found.chips
    for name in ("annotation/calibration/noise-", "annotation/calibration/calibration-"):
        sentinel1_grd.read_measurement.cache_clear()
        other = tmp_path / name.replace("/", "")
        shutil.copytree(root, other / root.name)
        next((other / root.name).glob(f"{name}*-vh-*")).unlink()
        with pytest.raises(InputError, match=f"lacks {name}"):
            read_all(other, ("vh",))
    empty = tmp_path / "empty" / root.name
    empty.mkdir(parents=True)
    (empty / "manifest.safe").write_text("<x/>")
    with pytest.raises(InputError, match="not one product"):
        read_all(tmp_path / "empty")


def test_a_swath_keeps_its_precision_with_few_knots() -> None:
    # A scene of true size: geolocation interpolated between knots stays within the tolerance.
    orbit = Orbit(side=10.0)
    lines, pixels = np.linspace(0, 16777, 10), np.linspace(0, 25186, 21)
    row, col = np.meshgrid(lines, pixels, indexing="ij")
    lon, lat = orbit.place(row, col)
    swath = Swath(16778, 25187, *(tuple(map(float, v.ravel())) for v in (lines, pixels, lon, lat)))
    grid = Grid(orbit.crs, (10.0, 0.0, 20_000.0, 0.0, -10.0, 30_000.0), 512, 512)
    found = overlap.locate(swath, grid)
    x, y = grid.affine @ np.meshgrid(np.arange(512.0), np.arange(512.0))
    truth = swath.locate(*transformer(grid.crs, WGS84).transform(x, y))
    rows, cols = np.arange(512), np.arange(512)
    for knots, exact in zip((found.source_cols, found.source_rows), truth, strict=True):
        along = np.stack([np.interp(cols, found.knot_cols, line) for line in knots])
        whole = np.stack([np.interp(rows, found.knot_rows, line) for line in along.T]).T
        assert np.abs(whole - exact).max() < 2 * overlap.TOLERANCE
    assert len(found.knot_cols) < 70
