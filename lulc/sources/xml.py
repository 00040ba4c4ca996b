"""XML metadata of a product, read without entities, DTDs or anything else that leads out of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from lulc.errors import InputError
from lulc.redact import redact_url
from lulc.sources.product import Tree


@dataclass(frozen=True, eq=False)
class Metadata:
    """An XML file: where it lies, for messages, and its root. Paths are ElementTree's, relative to the root."""

    href: str
    root: Element

    def find_text(self, path: str) -> str | None:
        """The text of the first element at the path, None where there is none."""
        text = self.root.findtext(path)
        return text.strip() if text else None

    def text(self, path: str) -> str:
        """The text of the first element at the path; InputError where there is none."""
        text = self.find_text(path)
        if not text:
            raise InputError(f"{redact_url(self.href)} lacks {_tag(path)}: fetch the product anew")
        return text

    def number(self, path: str) -> float:
        """The number at the path; InputError where there is none, or it is not finite."""
        return self.numbers(self.text(path), path)[0]

    def numbers(self, text: str, path: str) -> list[float]:
        """The numbers in a text found at the path, which are parted by spaces; InputError where one is none."""
        try:
            found = [float(word) for word in text.split()]
        except ValueError:
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            raise InputError(
                f"{redact_url(self.href)} has {text[:40]!r} for {_tag(path)}: fetch the product anew"
            )
        return found

    def time(self, path: str) -> datetime:
        """The time at the path, in UTC, which it is in where it names no zone; InputError where it is none."""
        text = self.text(path)
        try:
            found = datetime.fromisoformat(text)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{redact_url(self.href)} has {text[:40]!r} for {_tag(path)}: fetch the product anew"
            ) from error


def read_xml(tree: Tree, name: str) -> Metadata:
    """An XML file of the product; InputError where it is damaged, or declares entities or a document type."""
    href = tree.href(name)
    try:
        return Metadata(href, fromstring(tree.read(name), forbid_dtd=True))
    # LookupError: an encoding that there is not.
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputError(
            f"{redact_url(href)} is not plain XML ({error}): fetch the product anew"
        ) from error


def _tag(path: str) -> str:
    return path.rpartition("/")[2]
