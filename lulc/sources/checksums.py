"""Files compared with the checksums of their product or item, where the run file has `verify`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import Tree, digest
from lulc.sources.xml import read_xml

# Names in manifest.safe (Sentinel-SAFE Specification, PGSI-GSEG-EOPG-FS-05-0001; SHA3-256 since
# baseline 02.09) → hashlib's.
_MANIFEST_ALGORITHMS = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-512": "sha3_512",
}
# Codes of STAC's file:checksum (https://github.com/multiformats/multicodec, table.csv, tag
# multihash) → hashlib's names; 0xd5 is written d501.
_MULTIHASH_ALGORITHMS = {
    "11": "sha1",
    "12": "sha256",
    "13": "sha512",
    "14": "sha3_512",
    "15": "sha3_384",
    "16": "sha3_256",
    "17": "sha3_224",
    "d501": "md5",
}


def verify_product(tree: Tree, root: str, names: Iterable[str]) -> None:
    """Compare files of a SAFE product with the checksums in its manifest.safe.

    Args:
        tree: The files of the archive's folder or zip.
        root: The folder in the tree that holds the product, `""` or ending in `/`.
        names: The files to verify, by their names in the tree.

    Raises:
        InputError: The manifest is missing, or a file differs from it or is not listed in it.
    """
    manifest = f"{root}manifest.safe"
    if manifest not in tree.sizes:
        raise InputError(
            f"{redact_url(tree.href(manifest))} is not there, which holds the checksums: "
            "download it, or set scenes.verify to false"
        )
    checksums = _manifest_checksums(tree, root, manifest)
    for name in names:
        algorithm, expected = checksums.get(name, ("", ""))
        _compare(tree.href(name), algorithm, expected)


def _manifest_checksums(tree: Tree, root: str, manifest: str) -> dict[str, tuple[str, str]]:
    # File name → (algorithm, hex digest); an algorithm of another name is "".
    checksums: dict[str, tuple[str, str]] = {}
    for stream in read_xml(tree, manifest).root.iterfind(".//{*}byteStream"):
        location, checksum = stream.find("{*}fileLocation"), stream.find("{*}checksum")
        if location is not None and checksum is not None:
            name = root + posixpath.normpath(location.get("href") or "")
            algorithm = _MANIFEST_ALGORITHMS.get(checksum.get("checksumName") or "", "")
            checksums[name] = (algorithm, (checksum.text or "").strip())
    return checksums


def verify_file(href: str, checksum: str | None) -> None:
    """Compare a file with the checksum (a multihash in hex) of its STAC asset.

    Raises:
        InputError: The file differs, or the asset has no checksum of a known kind.
    """
    multihash = (checksum or "").lower()
    code = next((code for code in _MULTIHASH_ALGORITHMS if multihash.startswith(code)), "")
    # After the code comes the digest's length in bytes, two digits as it is under 128 for these.
    _compare(href, _MULTIHASH_ALGORITHMS.get(code, ""), multihash[len(code) + 2 :])


def _compare(href: str, algorithm: str, expected: str) -> None:
    if not algorithm or not expected:
        raise InputError(
            f"{redact_url(href)} has no checksum of a known kind in its metadata: "
            "set scenes.verify to false to go without"
        )
    actual = digest(href, algorithm)
    if actual != expected.lower():
        raise InputError(
            f"{redact_url(href)} has {algorithm} {actual[:12]}…, "
            f"it should be {expected.lower()[:12]}…: download it again"
        )
