"""Files held against the checksums that their product or item gives, where the run file asks for it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import Tree, digest
from lulc.sources.xml import read_xml

# Names in manifest.safe (Sentinel-SAFE Specification, PGSI-GSEG-EOPG-FS-05-0001; SHA3-256 since baseline 02.09).
_NAMED = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-512": "sha3_512",
}
# Codes of STAC's file:checksum (https://github.com/multiformats/multicodec, table.csv, tag multihash); 0xd5 is written d501.
_CODED = {
    "11": "sha1", "12": "sha256", "13": "sha512", "14": "sha3_512", "15": "sha3_384", "16": "sha3_256", "17": "sha3_224",
    "d501": "md5",
}  # fmt: skip


def verify_product(tree: Tree, root: str, names: Iterable[str]) -> None:
    """Nothing where files of a SAFE product are what its manifest.safe says; InputError names one that is not, or is not listed.

    root: the folder in the tree that holds the product, `""` or ending in `/`.
    """
    place = f"{root}manifest.safe"
    if place not in tree.sizes:
        raise InputError(
            f"{redact_url(tree.href(place))} is not there, which holds the checksums: fetch it, or set scenes.verify to false"
        )
    said: dict[str, tuple[str, str]] = {}
    for stream in read_xml(tree, place).root.iterfind(".//{*}byteStream"):
        location, checksum = stream.find("{*}fileLocation"), stream.find("{*}checksum")
        if location is not None and checksum is not None:
            name = root + posixpath.normpath(location.get("href") or "")
            said[name] = (
                _NAMED.get(checksum.get("checksumName") or "", ""),
                (checksum.text or "").strip(),
            )
    for name in names:
        algorithm, expected = said.get(name, ("", ""))
        _compare(tree.href(name), algorithm, expected)


def verify_file(href: str, checksum: str | None) -> None:
    """Nothing where a file has the checksum (a multihash in hex) that its item gives; InputError where not, or it gives none."""
    text = (checksum or "").lower()
    code = next((c for c in _CODED if text.startswith(c)), "")
    # After the code stands the digest's length in bytes, under 128 for all of these.
    _compare(href, _CODED.get(code, ""), text[len(code) + 2 :])


def _compare(href: str, algorithm: str, expected: str) -> None:
    if not algorithm or not expected:
        raise InputError(
            f"{redact_url(href)} has no checksum of a known kind beside it: set scenes.verify to false to go without"
        )
    found = digest(href, algorithm)
    if found != expected.lower():
        raise InputError(
            f"{redact_url(href)} has {algorithm} {found[:12]}…, it should be {expected.lower()[:12]}…: fetch it anew"
        )
