"""SAFE products of Copernicus in an archive: folders and zips, by their names and metadata."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from lulc.config import Archive
from lulc.errors import InputError
from lulc.location import StorePath, parse_location
from lulc.redact import redact_url
from lulc.sources.listing import list_archive
from lulc.sources.product import Tree, has_hidden_part, is_packed, open_tree
from lulc.sources.scene import Scene
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
    visible = (name for name in names if not has_hidden_part(name))
    matches = [match for name in visible if (match := pattern.fullmatch(name))]
    products = {m["folder"] or m["zip"] or (m["parent"] or "").rstrip("/") for m in matches}
    # What is unpacked into a folder of its own name lies in X.SAFE/X.SAFE.
    enclosing = {str(folder) for product in products for folder in PurePosixPath(product).parents}
    complete = {match[1].rstrip("/") for m in matches if (match := is_metadata.fullmatch(m[0]))}
    return sorted(product for product in products if product not in enclosing - complete)


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
    folder = location.parent if location.is_file() else location
    root = str(folder).rstrip("/")
    for name in find_products(list_archive(folder).names, product, metadata):
        if name:
            key = PurePosixPath(name).with_name(plain_stem(name)).as_posix()
            yield SceneItem(f"{root}/{name}", key)
        else:
            yield SceneItem(root, plain_stem(root))


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


def product_prefixes(item: SceneItem) -> Iterable[str]:
    """Tell how the paths of a product's files begin, for `Source.prefixes`."""
    return (item.path if is_packed(item.path) else f"{item.path}/",)


def product_files(item: SceneItem, archive: Archive, scene: Scene | None) -> Iterable[str]:  # noqa: ARG001
    """List what a product in a folder of this machine's disk is made of, for `Source.named`.

    Returns:
        Its folders, its metadata, and the files of the scene's bands; of a product that is no
        scene, all files.
    """
    location = parse_location(item.path)
    if isinstance(location, StorePath) or not location.is_dir():
        return
    for folder, _, names in os.walk(location, followlinks=True):
        yield folder
        paths = [f"{folder}/{name}" for name in sorted(names)]
        yield from paths if scene is None else filter(_is_metadata, paths)
    if scene is not None:
        yield from sorted({band.href for band in scene.bands})


def _is_metadata(path: str) -> bool:
    return path.lower().endswith((".xml", ".safe"))


def plain_stem(path: str) -> str:
    """Return the name of the product at a path: without folders, `.zip` and `.SAFE`."""
    return re.sub(r"(\.SAFE)?(\.zip)?$", "", PurePosixPath(path).name)
