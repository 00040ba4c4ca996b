"""The train stage: ranks launched on the session's machines, the best weights registered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from lulc.errors import InputError
from lulc.location import relative_name
from lulc.models.package import LOCAL, ModelRef, find_weights
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.tables.ledger import LedgerRow, read_seal
from lulc.tables.store import table_folder
from lulc.training.fingerprint import training_fingerprint


def train(context: StageContext) -> StageResult:
    """Train a model and register it as the champion, unless one of this fingerprint is registered.

    Raises:
        InputError: there are no samples.
        UsageError: the settings do not suit the samples.
    """
    from lulc.models.registry import find_version, resolve

    config, out = context.config, context.out
    samples = read_seal(out, "samples")
    if samples is None:
        folder = table_folder(out, "samples")
        raise InputError(f"there are no samples in {folder} to train on: `lulc samples` makes them")
    fingerprint = training_fingerprint(config, config.train, samples.fingerprint)
    unit = Unit(config.name, fingerprint)
    registered = find_version(config, out, fingerprint)
    notes: list[str] = []

    def register(_: Sequence[Unit]) -> list[list[LedgerRow]]:
        start = time.monotonic()
        version = registered
        if version is None:
            # Loads torch, which a version that is registered does not need.
            from lulc.spark.training import train_and_register

            version, note = train_and_register(context, samples.fingerprint, fingerprint)
            notes.append(note)
        path = relative_name(find_weights(version.folder), out)
        checksum = version.checksum
        row = LedgerRow("train", unit.key, fingerprint, path=path, checksum=checksum)
        # Of a version that was registered before, how long it took is not known.
        return [[row if registered else replace(row, seconds=time.monotonic() - start)]]

    work = StageWork(
        "train",
        fingerprint,
        lambda bad: [unit],  # noqa: ARG005
        register,
        keeps_outdated=True,
        is_there=lambda: registered is not None,
    )
    result = run_incremental(context, work)
    if registered is None:
        return replace(result, note=notes[0])
    is_local = registered.version == LOCAL
    champion = registered if is_local else resolve(config.name, out, config.tracking.uri)
    return replace(result, skipped=1, done=0, note=_note_of_registered(registered, champion))


def _note_of_registered(version: ModelRef, champion: ModelRef) -> str:
    label = f"{version.name} version {version.version} is registered"
    if champion.version == version.version:
        return label
    return (
        f"{label}, but the champion, which maps, is version {champion.version}: "
        f"predict.model=models:/{version.name}/{version.version} maps with this one"
    )
