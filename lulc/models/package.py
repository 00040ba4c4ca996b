"""A model as files: a folder with its weights and its contract, moved in whole, known by a checksum. No torch, no MLflow."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lulc.errors import SetupError
from lulc.models import contract, mlm
from lulc.tables import files

WEIGHTS, CONTRACT, DESCRIBED = "weights.safetensors", "contract.json", "mlm.json"


@dataclass(frozen=True)
class ModelRef:
    """A version of a model on this machine: `folder` holds weights.safetensors and contract.json, `checksum` is of both.

    others: versions that map together with it.
    """

    name: str
    version: str
    folder: Path
    checksum: str
    others: tuple[ModelRef, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Its own and those of the others."""
        return (self.folder, *(other.folder for other in self.others))


def join_models(found: Sequence[ModelRef]) -> ModelRef:
    """Versions that map together as one, named a+b/1+2."""
    if len(found) == 1:
        return found[0]
    name, version = (
        "+".join(parts) for parts in zip(*((m.name, m.version) for m in found), strict=True)
    )
    digest = hashlib.sha256(" ".join(m.checksum for m in found).encode()).hexdigest()
    return ModelRef(name, version, found[0].folder, digest, tuple(found[1:]))


def model_checksum(folder: Path) -> str:
    """sha256 over the checksums of a model folder's weights and contract, in hex."""
    return hashlib.sha256(
        f"{files.checksum(folder / WEIGHTS)} {files.checksum(folder / CONTRACT)}".encode()
    ).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether both files are there."""
    return (folder / WEIGHTS).exists() and (folder / CONTRACT).exists()


def place_model(source: Path, folder: Path) -> None:
    """A model folder with the two files of another and the STAC item that describes the model, moved in whole."""
    beside, old = (folder.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
    try:
        beside.mkdir(parents=True)
        for name in (WEIGHTS, CONTRACT):
            shutil.copyfile(source / name, beside / name)
        (beside / DESCRIBED).write_text(
            json.dumps(mlm.make_mlm_item(contract.read_contract(source / CONTRACT)), indent=1)
        )
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
    except OSError as error:
        raise SetupError(
            f"{folder} could not be written ({error.strerror or error}): free space or choose another --out"
        ) from error
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)


def local_folder(out: Path, name: str) -> Path:
    """Where a model is kept that no tracking store has taken."""
    return out / "models" / f"{name}-local"


def find_local(out: Path, name: str) -> ModelRef | None:
    """The model kept without a tracking store, if there is one."""
    folder = local_folder(out, name)
    return ModelRef(name, "local", folder, model_checksum(folder)) if is_whole(folder) else None
