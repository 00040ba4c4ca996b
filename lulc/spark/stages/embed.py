"""The embed stage: vectors of tiles, pixels or samples, by a network or from embedding bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow.compute as pc

from lulc.config import EmbedConf
from lulc.errors import InputError, UsageError
from lulc.inference.embedder import check_encoder, embedding_bands
from lulc.inference.embeddings import EmbedSpec, embed_units, embeddings_path
from lulc.models.registry import resolve
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.stages.predict import chip_blocks
from lulc.spark.workers import map_units_on_gpus
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LatestRows, LedgerRow, read_done, read_seal

_TASK = ["key", "path", "checksum", "fingerprint"]


def embed(context: StageContext) -> StageResult:
    """Write the vectors of every block of chips; of every file of samples in a run without scenes.

    Raises:
        InputError: there are no chips, or samples, or the model takes other bands.
        UsageError: the model has no vectors, or pixels of samples are asked for.
    """
    of_samples, spec = not context.config.scenes, _make_spec(context)
    if of_samples and spec.settings.every:
        raise UsageError("embed.every is for the tiles of scenes; a sample has one vector")
    inputs = _samples(context) if of_samples else chip_blocks(context)
    units = []
    for task in inputs.table.select(_TASK).to_pylist():
        fingerprint = spec.fingerprint(task["fingerprint"])
        path = embeddings_path(task["key"], fingerprint, of_samples)
        units.append(Unit(task["key"], fingerprint, path, task))
    every, size = spec.settings.every, context.config.tiling.size
    if spec.settings.raster and every and size % every:
        raise UsageError(
            f"embed.raster needs an embed.every that divides tiling.size {size}, not {every}"
        )
    embed_tasks = partial(_embed_tasks, spec=spec, of_samples=of_samples)
    work = StageWork(
        "embed",
        fingerprint_of(OUTPUT_VERSIONS["embed"], [[unit.key, unit.fingerprint] for unit in units]),
        lambda bad: units,  # noqa: ARG005
        lambda todo: map_units_on_gpus(
            context, [unit.task for unit in todo], embed_tasks, "embed", context.config.predict.gpu
        ),
        table="embeddings",
        is_of_selection=not of_samples,
        files_of=_with_raster if spec.settings.raster else _alone,
        also_removed=lambda path: [] if of_samples else [layout.embeddings_raster(path)],
    )
    result = run_incremental(context, work)
    maker = f"by {spec.label}" if spec.model else "of the embedding bands"
    return replace(result, note=", ".join(filter(None, [maker, result.note])))


def _alone(path: str) -> Sequence[str]:
    return (path,)


def _with_raster(path: str) -> Sequence[str]:
    return path, layout.embeddings_raster(path)


def _make_spec(context: StageContext) -> EmbedSpec:
    config, out = context.config, context.out
    settings, positions = config.embed or EmbedConf(), embedding_bands(config.bands)
    if settings.model is None and positions:
        return EmbedSpec(out, settings, None, None, tuple(positions))
    model = resolve(settings.model or config.name, out, config.tracking.uri)
    contract = check_encoder(model, config.bands)
    contract.check_formulas(config.formulas)
    return EmbedSpec(out, settings, model, contract)


def _samples(context: StageContext) -> LatestRows:
    seal = read_seal(context.out, "samples")
    if seal is None:
        raise InputError(f"{context.out} holds no samples to embed: run `lulc samples` first")
    return read_done(context.out, "samples").where(pc.field("fingerprint") == seal.fingerprint)


def _embed_tasks(
    keys: Iterator[dict[str, Any]], spec: EmbedSpec, of_samples: bool
) -> Iterator[LedgerRow]:
    if spec.model is not None:
        from lulc.inference.predictor import use_one_core

        use_one_core()
    return embed_units(keys, spec, of_samples)
