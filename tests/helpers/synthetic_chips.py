"""Chips of a synthetic scene in blocks, as stage tile leaves them, and a run that maps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lulc import config, runfile
from lulc.chips import chip
from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.geo.tiling import Tiling
from lulc.inference.blocks import InferenceSpec
from lulc.models import package
from lulc.models.package import ModelRef
from lulc.tables import files, ledger
from tests.helpers import untrained_model as untrained
from tests.helpers.tiny_samples import BANDS, LEGEND

EXACT = PredictConf(precision="float32")
TILING = Tiling("6933-10m-64", "EPSG:6933", 10.0, 64)


def texture(
    height: int, width: int, dates: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noisy pixels (T, C, H, W) uint16; valid (T, H, W) with a hole and clouds."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(untrained.MEAN, untrained.STD, (dates, 2, height // 8 + 1, width // 8 + 1))
    image = coarse.repeat(8, 2).repeat(8, 3)[..., :height, :width] + rng.normal(
        0, 200, (dates, 2, height, width)
    )
    valid = rng.random((dates, height, width)) > 0.1
    valid[:, height // 3 : height // 2, width // 3 : width // 2] = False
    return np.where(valid[:, None], image.clip(1, 9000), 0).astype(np.uint16), valid


def cut_chips(
    image: np.ndarray,
    valid: np.ndarray,
    cells: list[tuple[int, int]],
    halo: int,
    tiling: Tiling = TILING,
    **changes: Any,
) -> list[Chip]:
    """Chips of a scene that lies at the tiling's origin, 0 and not valid beyond it."""
    pad = [(0, 0)] * (image.ndim - 2) + [(halo, halo + tiling.size)] * 2
    image, valid = np.pad(image, pad), np.pad(valid, pad[1:])
    made = []
    for col, row in cells:
        area = np.s_[..., row * tiling.size :, col * tiling.size :]
        side = tiling.size + 2 * halo
        parts = image[area][..., :side, :side], valid[area][..., :side, :side]
        plain: dict[str, Any] = {
            "bands": BANDS,
            "scales": (1.0,) * 2,
            "offsets": (0.0,) * 2,
            "grid": tiling.grid(col, row, halo),
        }
        plain |= {
            "tile_id": tiling.tile_id(col, row),
            "period": "p",
            "source": "s",
            "scene_ids": ("a",),
            "datetimes": (),
        }
        made.append(
            Chip(**(plain | changes), halo=halo, pixels=parts[0], valid=parts[1], clear=1.0)
        )
    return made


def write_chips(out: Path, name: str, made: list[Chip]) -> dict[str, str]:
    """The key of a block whose chips are these."""
    path = f"tables/chips/p.{name}.f{name}.parquet"
    chip.write_chips(out / path, made, {})
    return {
        "key": f"p/{TILING.name}/{name}",
        "path": path,
        "checksum": files.checksum(out / path),
        "fingerprint": f"f{name}",
    }


def make_spec(out: Path, model: Path, how: PredictConf = EXACT) -> InferenceSpec:
    """How a model folder maps into an output folder."""
    return InferenceSpec(
        out, ModelRef("untrained", "local", model, package.model_checksum(model)), how
    )


def make_run(**changes: Any) -> config.Config:
    """The run of an untrained model over the chips, mapped in float32."""
    raw: dict[str, Any] = {
        "name": "untrained",
        "scenes": [{"path": "archive"}],
        "bands": BANDS,
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in LEGEND.classes},
        "tiling": {"resolution": 10, "size": 64, "halo": 16, "block": 2},
        "samples": {"size": 64},
        "periods": [{"name": "p"}],
        "predict": {"precision": "float32"},
    }
    return runfile.parse_run(raw | changes, Path("/nowhere"))


def note_block(out: Path, key: dict[str, str]) -> None:
    """Note a block of chips in the ledger, as stage tile does."""
    rest = {"path": key["path"], "checksum": key["checksum"]}
    ledger.append_ledger(out, [ledger.LedgerRow("tile", key["key"], key["fingerprint"], **rest)])
