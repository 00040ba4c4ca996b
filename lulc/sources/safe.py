"""SAFE products of Copernicus in an archive: folders and zips, by their names and metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from lulc.config import Archive
from lulc.errors import InputError
from lulc.location import parse_location
from lulc.redact import redact_url
from lulc.sources.product import Tree, is_hidden, is_packed, open_tree
from lulc.sources.source import SceneItem


def find_products(names: Iterable[str], product: str, metadata: str) -> list[str]:
    """Return the products among file names, in order.

    Args:
        names: Names of files, relative to the archive.
        product: Regular expression of a product's name, without suffix.
        metadata: Regular expression of a file in a product that no other kind of product has.

    Returns:
        Folders (`""` for the archive's folder itself) and zips. A folder with the name but without
        the metadata is one too: it fails when it is read, so that it is reported.
    """
    pattern = re.compile(
        rf"(?P<folder>(?:.*/)?{product}\.SAFE)/.*"
        rf"|(?P<zip>(?:.*/)?{product}(?:\.SAFE)?\.zip)"
        rf"|(?P<parent>.*/|){metadata}"
    )
    is_metadata = re.compile(rf"(.*/|){metadata}")
    visible = (name for name in names if not is_hidden(name))
    matches = [match for name in visible if (match := pattern.fullmatch(name))]
    products = {m["folder"] or m["zip"] or (m["parent"] or "").rstrip("/") for m in matches}
    # What is unpacked into a folder of its own name lies in X.SAFE/X.SAFE.
    around = {str(folder) for product in products for folder in PurePosixPath(product).parents}
    complete = {match[1].rstrip("/") for m in matches if (match := is_metadata.fullmatch(m[0]))}
    return sorted(product for product in products if product not in around - complete)


def list_products(archive: Archive, product: str, metadata: str) -> Iterator[SceneItem]:
    """List the products of an archive.

    Args:
        archive: One product or its metadata file, or a folder or object store prefix with products
            below it.
        product: Regular expression of a product's name, as for `find_products`.
        metadata: Regular expression of a metadata file, as for `find_products`.

    Returns:
        An item for every product, in order.
    """
    location = parse_location(archive.path).absolute()
    if is_packed(path := str(location)):
        yield SceneItem(path, plain_stem(path))
        return
    tree = open_tree(str(location.parent if location.is_file() else location))
    for name in find_products(tree.sizes, product, metadata):
        if name:
            key = PurePosixPath(name).with_name(plain_stem(name)).as_posix()
            yield SceneItem(f"{tree.path}/{name}", key)
        else:
            yield SceneItem(tree.path, plain_stem(tree.path))


def open_product(item: SceneItem, metadata: str) -> tuple[Tree, str]:
    """Open the product of an item.

    Returns:
        The item's files, and the folder in them (`""`, or ending in `/`) that holds the product.

    Raises:
        InputError: The item holds no product or several.
    """
    tree = open_tree(item.path)
    pattern = re.compile(rf"(?P<parent>.*/|){metadata}")
    folders = {match["parent"] for name in tree.sizes if (match := pattern.fullmatch(name))}
    if len(folders) != 1:
        content = "several products" if folders else "no metadata of one"
        raise InputError(
            f"{redact_url(item.path)} is not one product: it holds {content}; download it again"
        )
    return tree, folders.pop()


def plain_stem(path: str) -> str:
    """Return the name of the product at a path: without folders, `.zip` and `.SAFE`."""
    return re.sub(r"(\.SAFE)?(\.zip)?$", "", PurePosixPath(path).name)
