"""Model folders: weights and contract, put in place as a whole, identified by a checksum.

No torch, no MLflow.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from lulc.location import Location, StorePath
from lulc.models.contract import TREE_MODELS, Contract, read_contract
from lulc.models.mlm import make_mlm_item
from lulc.tables import files, layout

WEIGHTS, TREES = "weights.safetensors", "trees.txt"
CONTRACT, MLM_ITEM = "contract.json", "mlm.json"
CARD = "README.md"
"""The model card; models of earlier releases have none."""
LOCAL = "local"
"""The version of a model that no tracking store has taken."""


@dataclass(frozen=True)
class ModelRef:
    """A version of a model on this machine."""

    name: str
    """The model's name; of several that map together, their names joined by `+`."""
    version: str
    """The version's number, or `local` where no tracking store has it."""
    folder: Location
    """The folder of the weights and the contract."""
    checksum: str
    """Checksum of both files, as `model_checksum` makes it."""
    others: tuple[ModelRef, ...] = ()
    """Further versions that map together with this one."""

    @property
    def folders(self) -> tuple[Location, ...]:
        """The folders of this version and of those that map together with it."""
        return (self.folder, *(other.folder for other in self.others))


def join_models(models: Sequence[ModelRef]) -> ModelRef:
    """Join versions that map together.

    Returns:
        One reference, named a+b with version 1+2; its checksum depends on all of theirs.
    """
    first, *others = models
    if not others:
        return first
    name = "+".join(model.name for model in models)
    version = "+".join(model.version for model in models)
    checksums = " ".join(model.checksum for model in models)
    digest = hashlib.sha256(checksums.encode()).hexdigest()
    return ModelRef(name, version, first.folder, digest, tuple(others))


def weights_name(contract: Contract) -> str:
    """Return the name of the file of weights beside a contract: tensors, or a text of trees."""
    return TREES if contract.model in TREE_MODELS else WEIGHTS


def find_weights(folder: Location) -> Location:
    """Return the file of weights of a model folder, which the contract there names.

    Raises:
        FileNotFoundError: the folder lacks a contract.
        InputError: its contract is not one.
    """
    identity = files.fingerprint_of(files.file_identity(folder / CONTRACT))
    return folder / _read_weights_name(folder, identity)


@lru_cache(maxsize=64)
def _read_weights_name(folder: Location, identity: str) -> str:  # noqa: ARG001 - of the cache
    return weights_name(read_contract(folder / CONTRACT))


def model_checksum(folder: Location) -> str:
    """Return the sha256 over the checksums of a model folder's weights and contract, in hex.

    The files are read again only if they were replaced since.

    Raises:
        FileNotFoundError: the folder lacks one of them.
        InputError: its contract is not one.
    """
    of_contract = files.file_identity(folder / CONTRACT)
    weights = folder / _read_weights_name(folder, files.fingerprint_of(of_contract))
    identities = [files.file_identity(weights), of_contract]
    return _read_checksum(weights, files.fingerprint_of(identities))


def find_checksum(folder: Location) -> str | None:
    """Return the `model_checksum` of a folder; None where it lacks weights or contract."""
    try:
        return model_checksum(folder)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=64)
def _read_checksum(weights: Location, identities: str) -> str:  # noqa: ARG001 - of the cache
    checksums = f"{files.checksum(weights)} {files.checksum(weights.parent / CONTRACT)}"
    return hashlib.sha256(checksums.encode()).hexdigest()


def place_model(source: Location, folder: Location) -> None:
    """Copy a model folder as a whole, with its card and the STAC item that describes the model.

    Args:
        source: a folder with weights and contract.
        folder: the folder to make; one that exists is replaced.

    Raises:
        SetupError: the disk is full, or the folder cannot be written.
        InputError: the source's contract is not one.
    """
    contract = read_contract(source / CONTRACT)
    cards = (CARD,) if files.exists(source / CARD) else ()
    names = (*cards, weights_name(contract), CONTRACT)
    if isinstance(folder, StorePath):
        # The contract last: with it the folder is complete.
        files.write_atomic(folder / MLM_ITEM, partial(_write_item, contract))
        for name in names:
            files.copy(source / name, folder / name)
        return
    staging, replaced = (folder.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
    try:
        staging.mkdir(parents=True)
        for name in names:
            files.copy(source / name, staging / name)
        _write_item(contract, staging / MLM_ITEM)
        if folder.exists():
            folder.rename(replaced)
        staging.rename(folder)
    except OSError as error:
        raise files.write_error(folder, error) from error
    finally:
        for leftover in (staging, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def _write_item(contract: Contract, path: Path) -> None:
    path.write_text(json.dumps(make_mlm_item(contract), indent=1))


def local_folder(out: Location, name: str) -> Location:
    """Return the folder under OUT of a model that no tracking store has taken."""
    return out / layout.model_folder(name, LOCAL)


def find_local(out: Location, name: str) -> ModelRef | None:
    """Return the model kept under OUT without a tracking store, None where there is none."""
    folder = local_folder(out, name)
    checksum = find_checksum(folder)
    return ModelRef(name, LOCAL, folder, checksum) if checksum else None
