"""The MTL of a Landsat product: its metadata, the same in ODL (.txt), JSON and XML.

Groups and keys: Landsat 8-9 OLI/TIRS Collection 2 Level 1 and Level 2 Data Format Control Books (LSDS-1822, LSDS-1328); Landsat
4-7 Collection 2 Level 1 and Level 2 (LSDS-1414, LSDS-1415, LSDS-1618); Collection 1 (LSDS-809).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import Tree
from lulc.sources.xml import read_xml

_Groups = Mapping[str, Mapping[str, str]]

# The groups that describe the product itself, by level. A level-2 MTL repeats the level-1 product it was made from, under the
# same keys: file names and scales that are not its own.
_OWN = ("METADATA_FILE_INFO", "PRODUCT_METADATA", "PRODUCT_CONTENTS", "IMAGE_ATTRIBUTES")
_SCALES = {
    "L1": ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"),
    "L2": ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"),
}


@dataclass(frozen=True, eq=False)
class Mtl:
    """What an MTL says of its own product, key → text, and where it lies, for messages."""

    href: str
    said: Mapping[str, str]

    @property
    def level(self) -> str:
        """The processing level, such as L1TP or L2SP."""
        return self.said["PROCESSING_LEVEL"]

    def text(self, key: str) -> str:
        """The text under a key; InputError where there is none."""
        found = self.said.get(key)
        if not found:
            raise InputError(f"{redact_url(self.href)} lacks {key}: fetch the product anew")
        return found

    def number(self, key: str) -> float:
        """The number under a key; InputError where there is none, or it is not finite."""
        try:
            found = float(self.text(key))
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise InputError(
                f"{redact_url(self.href)} has {self.said[key][:40]!r} for {key}: fetch the product anew"
            )
        return found

    @property
    def taken(self) -> datetime:
        """When the centre of the scene was taken; InputError where the MTL does not say."""
        text = f"{self.text('DATE_ACQUIRED')}T{self.text('SCENE_CENTER_TIME')}"
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise InputError(
                f"{redact_url(self.href)} gives {text[:40]!r} as its time: fetch the product anew"
            ) from error

    def files(self) -> dict[str, str]:
        """Name of each of the product's bands, such as 4, 6_VCID_1 or ST_B10 → name of its file."""
        start = "FILE_NAME_BAND_"
        return {
            key.removeprefix(start): name
            for key, name in self.said.items()
            if key.startswith(start)
        }


def read_mtl(tree: Tree, names: Mapping[str, str], product: str) -> Mtl:
    """The product's MTL: of txt, json and xml the first that is sound; names: file name → its name in the tree.

    InputError where there is none, none is sound, or it is of another product.
    """
    problems = []
    for suffix in ("txt", "json", "xml"):
        name = names.get(f"{product}_MTL.{suffix}")
        if name is None:
            continue
        try:
            groups = _read_xml(tree, name) if suffix == "xml" else _read_text(tree, name)
        except InputError as error:
            problems.append(str(error))
            continue
        return _choose(tree.href(name), groups, product)
    if problems:
        raise InputError(problems[0])
    raise InputError(
        f"product {product} in {redact_url(tree.path)} has no {product}_MTL.txt, .json or .xml: fetch it anew"
    )


def _choose(href: str, groups: _Groups, product: str) -> Mtl:
    said = {key: text for group in _OWN for key, text in groups.get(group, {}).items()}
    # Collection 1 calls it DATA_TYPE.
    level = said.setdefault("PROCESSING_LEVEL", said.get("DATA_TYPE", ""))
    if said.get("LANDSAT_PRODUCT_ID") != product or level[:2] not in _SCALES:
        of = f"of {said.get('LANDSAT_PRODUCT_ID')!r} at level {level!r}"
        raise InputError(
            f"{redact_url(href)} is {of}: it should be of {product}, at level 1 or 2; fetch the product anew"
        )
    return Mtl(
        href,
        said
        | {
            key: text for group in _SCALES[level[:2]] for key, text in groups.get(group, {}).items()
        },
    )


def _read_text(tree: Tree, name: str) -> _Groups:
    try:
        content = tree.read(name).decode("utf-8")
        return _from_json(json.loads(content)) if name.endswith(".json") else _from_odl(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{redact_url(tree.href(name))} is not a sound MTL ({error}): fetch the product anew"
        ) from error


def _from_odl(content: str) -> _Groups:
    # Object Description Language as MTL files use it: KEY = VALUE in nested GROUPs, END at the end.
    groups: dict[str, dict[str, str]] = {}
    inside: list[str] = []
    for number, line in enumerate(content.splitlines(), 1):
        key, mark, value = (part.strip() for part in line.partition("="))
        if key == "END" and not mark:
            if not inside:
                return groups
            break
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP":
            if not inside or inside.pop() != value:
                raise ValueError(f"line {number} ends group {value[:40]}, which is not open")
        elif mark and inside:
            groups.setdefault(inside[-1], {})[key] = value.strip('"')
        elif key:
            raise ValueError(f"line {number} is not KEY = VALUE in a group")
    raise ValueError("it is cut short: its END is missing")


def _from_json(content: object) -> _Groups:
    roots = list(content.values()) if isinstance(content, dict) else []
    if (
        len(roots) != 1
        or not isinstance(roots[0], dict)
        or not all(isinstance(group, dict) for group in roots[0].values())
    ):
        raise ValueError("it is not one object of groups")
    return {
        name: {key: str(value) for key, value in group.items()} for name, group in roots[0].items()
    }


def _read_xml(tree: Tree, name: str) -> _Groups:
    return {
        group.tag: {e.tag: (e.text or "").strip() for e in group}
        for group in read_xml(tree, name).root
    }
