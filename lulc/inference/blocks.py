"""Blocks of chips to blocks of predictions, the unit of work of the predict stage."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lulc.inference.block_images import BlockImage
    from lulc.inference.image_maps import ImageMap
    from lulc.inference.predictor import Predictor
from lulc.config import PredictConf
from lulc.inference.rows import TableRow
from lulc.location import Location
from lulc.maps.applicability import count_far_tiles
from lulc.maps.prediction_row import PredictionRow
from lulc.models.package import ModelRef
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files, layout, schemas, store
from lulc.tables.ledger import LedgerRow, row_of_file

_IMAGES_AHEAD = 2


@dataclass(frozen=True)
class InferenceSpec:
    """How a run maps its chips."""

    out: Location
    """The output location."""
    model: ModelRef
    settings: PredictConf

    def fingerprint(self, chips_fingerprint: str) -> str:
        """Return what a block's predictions depend on: its chips, the model, the settings."""
        # The name by which the run file calls the model changes nothing.
        settings = replace(self.settings, model=None)
        # What is not asked for is not in it: those of earlier releases hold.
        besides = ["spread"] if settings.spread else []
        besides += [settings.combine] if settings.combine != "mean" else []
        return files.fingerprint_of(
            OUTPUT_VERSIONS["predict"],
            "predict",
            chips_fingerprint,
            self.model.name,
            self.model.version,
            self.model.checksum,
            settings,
            *besides,
        )


def table_of(task: str | None) -> str:
    """Return the name of the table that predictions of a task go to."""
    return {"multilabel": "probabilities", "detect": "boxes"}.get(task or "", "predictions")


def predictions_path(key: str, fingerprint: str, table: str = "predictions") -> str:
    """Return the file of a block's predictions, relative to the output location.

    Args:
        key: of the block, `<period>/<tiling>/<col>_<row>`.
        fingerprint: of the predictions.
        table: its name.
    """
    return layout.block_file(table, layout.parse_block_key(key), fingerprint)


def map_blocks(
    keys: Iterable[Mapping[str, Any]], spec: InferenceSpec, ahead: int | None = None
) -> Iterator[LedgerRow]:
    """Map blocks of chips and publish the predictions for every tile's core.

    Args:
        keys: each block's `key`, and `path`, `checksum` (if known) and `fingerprint` of its chips.
        spec: how they are mapped.
        ahead: how many images a thread reads while the network works; by default some on a GPU and
            none on cores, which both would need.

    Yields:
        The ledger row of each block; a `bad` one where its chips are not as they were published.

    Raises:
        InputError: chips do not keep the model's contract; no block of this run would.
        SetupError: the GPU's memory does not hold one window.
    """
    from lulc.inference.patch_batches import read_ahead
    from lulc.models.device import choose_device

    predictor = load_predictor(spec.model, choose_device())
    if ahead is None:
        ahead = 0 if predictor.device.type == "cpu" else _IMAGES_AHEAD
    start = time.monotonic()
    block_reads = read_ahead(_read_blocks(keys, predictor, spec), ahead)
    for key, of_block in itertools.groupby(block_reads, key=lambda block_read: block_read.key):
        fingerprint = spec.fingerprint(key["fingerprint"])
        fault = next(of_block).fault
        if fault:
            error = f"chips {key['path']} {fault}: delete the file and run `lulc tile` again"
            yield LedgerRow("predict", key["key"], fingerprint, "bad", error=error)
        else:
            images = (block_read.image for block_read in of_block if block_read.image)
            row = _write_block(key, map_images(images, predictor, spec), predictor, spec)
            yield replace(row, seconds=time.monotonic() - start)
        start = time.monotonic()


@lru_cache(maxsize=4)
def load_predictor(model: ModelRef, device: object) -> Predictor:  # noqa: ARG001 - of the cache
    """Return the predictor of a model, which the process keeps.

    Its folder is not asked again at each task: the checksum tells what is in it.

    Args:
        model: the model.
        device: that it computes on.
    """
    from lulc.inference.predictor import load_all

    return load_all(model.folders)


def _write_block(
    key: Mapping[str, Any], rows: Sequence[TableRow], predictor: Predictor, spec: InferenceSpec
) -> LedgerRow:
    table, fingerprint = table_of(predictor.contract.task), spec.fingerprint(key["fingerprint"])
    footer = {
        "stage": "predict",
        "key": key["key"],
        "fingerprint": fingerprint,
        "status": "done",
        "valid_pixels": _count_valid(rows),
        "path": predictions_path(key["key"], fingerprint, table),
        "precision": predictor.precision(spec.settings),
        "trained_in": predictor.trained_in,
        "bands": ", ".join(predictor.contract.describe_bands()),
        **_count_far(rows, spec.settings),
    }
    table_rows = (row.to_row() for row in rows)
    store.write_rows(spec.out / footer["path"], table_rows, schemas.ALL[table], footer)
    return row_of_file(spec.out, footer)


def _count_far(rows: Sequence[TableRow], settings: PredictConf) -> dict[str, Any]:
    distances = [row.training_distance for row in rows if isinstance(row, PredictionRow)]
    return count_far_tiles(distances, settings.training_distance) if distances else {}


def _count_valid(rows: Sequence[TableRow]) -> int:
    # Pixels of a table of classes, else rows.
    return sum(row.valid_pixels if isinstance(row, PredictionRow) else 1 for row in rows)


@dataclass(frozen=True, eq=False)
class _BlockRead:
    """What is read of a block: first whether it is as it was published, then its images."""

    key: Mapping[str, Any]
    fault: str | None = None
    image: BlockImage | None = None


def _read_blocks(
    keys: Iterable[Mapping[str, Any]], predictor: Predictor, spec: InferenceSpec
) -> Iterator[_BlockRead]:
    from lulc.inference.block_images import read_images

    for key in keys:
        chips = spec.out / key["path"]
        fault = find_fault(chips, key["checksum"])
        yield _BlockRead(key, fault)
        if not fault:
            for image in read_images(chips, predictor, spec):
                yield _BlockRead(key, image=image)


def map_images(
    images: Iterable[BlockImage], predictor: Predictor, spec: InferenceSpec
) -> list[TableRow]:
    """Map the images of a block.

    Args:
        images: of the block.
        predictor: of the model.
        spec: how they are mapped.

    Returns:
        The rows of the block's chips.
    """
    from lulc.inference.chip_maps import rows_of_chip

    waiting: deque[BlockImage] = deque()

    def empty_maps() -> Iterator[ImageMap]:
        for image in images:
            waiting.append(image)
            yield image.map

    rows: list[TableRow] = []
    for filled in predictor.fill(empty_maps(), spec.settings):
        for mapped in waiting.popleft().chips:
            rows += rows_of_chip(mapped, filled, predictor, spec)
    return rows


def find_fault(location: Location, checksum: str | None) -> str | None:
    """Return what is wrong with a published file; None where it is as it was.

    Args:
        location: of the file.
        checksum: of what was published; None where it is not known.
    """
    if checksum is None:  # taken up by name after a kill
        return None
    try:
        return None if files.checksum(location) == checksum else "are not as they were written"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
