"""The MTL of a Landsat product: its metadata, the same in ODL (.txt), JSON and XML.

Groups and parameters: Landsat 8-9 OLI/TIRS Collection 2 Level 1 and Level 2 Data Format Control
Books (LSDS-1822, LSDS-1328); Landsat 4-7 Collection 2 Level 1 and Level 2 (LSDS-1414, LSDS-1415,
LSDS-1618); Collection 1 (LSDS-809).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import Tree
from lulc.sources.xml import read_xml

_Groups = Mapping[str, Mapping[str, str]]

# The groups that describe the product itself, by level. A level-2 MTL repeats the level-1 product
# it was made from, under the same parameters: other file names and scales.
_PRODUCT_GROUPS = (
    "METADATA_FILE_INFO",
    "PRODUCT_METADATA",
    "PRODUCT_CONTENTS",
    "IMAGE_ATTRIBUTES",
)
_SCALE_GROUPS = {
    "L1": ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"),
    "L2": ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"),
}
_BAND_FILE = "FILE_NAME_BAND_"


@dataclass(frozen=True, eq=False)
class Mtl:
    """An MTL: its address, for messages, and the parameters of its own product, name → text."""

    href: str
    parameters: Mapping[str, str]

    @property
    def level(self) -> str:
        """The processing level, such as L1TP or L2SP."""
        return self.parameters["PROCESSING_LEVEL"]

    def text(self, parameter: str) -> str:
        """Return the text of a parameter.

        Raises:
            InputError: The MTL has no such parameter, or it is empty.
        """
        text = self.parameters.get(parameter)
        if not text:
            raise InputError(
                f"{redact_url(self.href)} lacks {parameter}: download the product again"
            )
        return text

    def number(self, parameter: str) -> float:
        """Return the number of a parameter.

        Raises:
            InputError: There is none, or it is not finite.
        """
        try:
            number = float(self.text(parameter))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{redact_url(self.href)} has {self.parameters[parameter][:40]!r} "
                f"for {parameter}: download the product again"
            )
        return number

    @property
    def acquired(self) -> datetime:
        """When the centre of the scene was acquired; InputError where the MTL has no time."""
        text = f"{self.text('DATE_ACQUIRED')}T{self.text('SCENE_CENTER_TIME')}"
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise InputError(
                f"{redact_url(self.href)} gives {text[:40]!r} as its time: "
                "download the product again"
            ) from error

    def band_files(self) -> dict[str, str]:
        """Return the files of the product's bands.

        Returns:
            The band's name in the MTL, such as 4, 6_VCID_1 or ST_B10 → name of its file.
        """
        return {
            parameter.removeprefix(_BAND_FILE): file
            for parameter, file in self.parameters.items()
            if parameter.startswith(_BAND_FILE)
        }


def read_mtl(tree: Tree, names: Mapping[str, str], stem: str) -> Mtl:
    """Read a product's MTL: the first valid one of txt, json and xml.

    Args:
        tree: The product's files.
        names: File name in lower case → its name in the tree.
        stem: What the MTL's name begins with, mostly the product's id.

    Raises:
        InputError: There is no MTL, none is valid, or it is of a product that is not read.
    """
    problems = []
    prefix = f"{stem}_MTL" if stem else "MTL"
    for suffix in ("txt", "json", "xml"):
        name = names.get(f"{prefix}.{suffix}".lower())
        if name is None:
            continue
        try:
            groups = _read_xml(tree, name) if suffix == "xml" else _read_text(tree, name)
        except InputError as error:
            problems.append(str(error))
            continue
        return _from_groups(tree.href(name), groups)
    if problems:
        raise InputError(problems[0])
    raise InputError(
        f"product {stem} in {redact_url(tree.path)} has no {prefix}.txt, .json or .xml, "
        "which tells its scales, time and masks: download it, or give scenes.pattern to take "
        "the files as they are"
    )


def _from_groups(href: str, groups: _Groups) -> Mtl:
    parameters = _merge(groups, _PRODUCT_GROUPS)
    # Collection 1 calls it DATA_TYPE.
    level = parameters.setdefault("PROCESSING_LEVEL", parameters.get("DATA_TYPE", ""))
    product_id = parameters.get("LANDSAT_PRODUCT_ID")
    if "SPACECRAFT_ID" not in parameters and not product_id:
        raise InputError(f"{redact_url(href)} is not the MTL of a Landsat product")
    if not product_id:
        scene_id = parameters.get("LANDSAT_SCENE_ID") or "a scene without an id"
        raise InputError(
            f"{redact_url(href)} is of {scene_id[:40]}, processed before Collection 1, whose "
            "calibration and quality bits are others: take the scene's Collection 2 product "
            "(https://earthexplorer.usgs.gov), or give scenes.pattern to take its files as they are"
        )
    if level[:2] not in _SCALE_GROUPS:
        raise InputError(
            f"{redact_url(href)} is of {product_id!r} at level {level!r}: accepted are levels 1 "
            "and 2 of Collections 1 and 2"
        )
    return Mtl(href, parameters | _merge(groups, _SCALE_GROUPS[level[:2]]))


def _merge(groups: _Groups, names: Iterable[str]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name in names:
        merged |= groups.get(name, {})
    return merged


def _read_text(tree: Tree, name: str) -> _Groups:
    try:
        content = tree.read(name).decode("utf-8-sig")
        return _from_json(json.loads(content)) if name.endswith(".json") else _from_odl(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{redact_url(tree.href(name))} is not a valid MTL ({error}): "
            "download the product again"
        ) from error


def _from_odl(content: str) -> _Groups:
    # Object Description Language as MTL files use it: KEY = VALUE in nested GROUPs, END at the end.
    groups: dict[str, dict[str, str]] = {}
    open_groups: list[str] = []
    for line_number, line in enumerate(content.splitlines(), 1):
        key, equals, value = (text.strip() for text in line.partition("="))
        if key == "END" and not equals:
            if not open_groups:
                return groups
            break
        if key == "GROUP":
            open_groups.append(value)
        elif key == "END_GROUP":
            if not open_groups or open_groups.pop() != value:
                raise ValueError(f"line {line_number} ends group {value[:40]}, which is not open")
        elif equals and open_groups:
            groups.setdefault(open_groups[-1], {})[key] = value.strip('"')
        elif key:
            raise ValueError(f"line {line_number} is not KEY = VALUE in a group")
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
        group.tag: {parameter.tag: (parameter.text or "").strip() for parameter in group}
        for group in read_xml(tree, name).root
    }
