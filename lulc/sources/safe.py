"""SAFE products of Copernicus in an archive: folders and zips, found by their names and by the metadata they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lulc.config import Archive
from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import PACKED, Tree, open_tree
from lulc.sources.source import SceneItem


def find_products(names: Iterable[str], product: str, mark: str) -> list[str]:
    """The products among the names of files, in order: folders (`""` for the one that holds them all) and zips.

    product: regular expression of a product's name, without suffix; mark: of a file in it that no other product has. A folder
    with the name but without the file is one too: it fails when it is read, and so is not lost in silence.
    """
    form = re.compile(
        rf"(?P<folder>(?:.*/)?{product}\.SAFE)/.*|(?P<zip>(?:.*/)?{product}(?:\.SAFE)?\.zip)|(?P<parent>.*/|){mark}"
    )
    matches = [
        m for name in names if not re.search(r"(^|/)\.", name) and (m := form.fullmatch(name))
    ]
    return sorted({m["folder"] or m["zip"] or (m["parent"] or "").rstrip("/") for m in matches})


def list_products(archive: Archive, product: str, mark: str) -> Iterator[SceneItem]:
    """An item for every product of the archive, in order: the one that it names, or all below the folder that it names."""
    place = archive.path if "://" in archive.path else str(Path(archive.path).absolute())
    if place.lower().endswith(PACKED):
        yield SceneItem(place, plain_stem(place))
        return
    tree = open_tree(place)
    for found in find_products(tree.sizes, product, mark):
        inner = PurePosixPath(found or tree.path)
        key = inner.with_name(plain_stem(found)).as_posix() if found else plain_stem(tree.path)
        yield SceneItem(f"{tree.path}/{found}" if found else tree.path, key)


def open_product(item: SceneItem, mark: str) -> tuple[Tree, str]:
    """The item's files, and the folder in them (`""`, or ending in `/`) that holds the product; InputError where none does."""
    tree = open_tree(item.path)
    found = {
        m["parent"] for name in tree.sizes if (m := re.fullmatch(rf"(?P<parent>.*/|){mark}", name))
    }
    if len(found) != 1:
        held = "several products" if found else "no metadata of one"
        raise InputError(
            f"{redact_url(item.path)} is not one product: it holds {held}; fetch it anew"
        )
    return tree, found.pop()


def plain_stem(path: str) -> str:
    """The name of a product at a path: without folders, `.zip` and `.SAFE`."""
    return re.sub(r"(\.SAFE)?(\.zip)?$", "", PurePosixPath(path).name)
