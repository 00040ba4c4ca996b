"""XML metadata of a product, read without entities, DTDs or references out of the file."""

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
    """An XML file: its address, for messages, and its root.

    Paths are those of ElementTree, relative to the root.
    """

    href: str
    root: Element

    def find_text(self, path: str) -> str | None:
        """Return the text of the first element at the path, None where there is none."""
        text = self.root.findtext(path)
        return text.strip() if text else None

    def text(self, path: str) -> str:
        """Return the text of the first element at the path.

        Raises:
            InputError: There is no such element, or it is empty.
        """
        text = self.find_text(path)
        if not text:
            raise InputError(
                f"{redact_url(self.href)} lacks {_tag(path)}: download the product again"
            )
        return text

    def number(self, path: str) -> float:
        """Return the number at the path.

        Raises:
            InputError: There is none, or it is not finite.
        """
        return self.numbers(self.text(path), path)[0]

    def numbers(self, text: str, path: str) -> list[float]:
        """Parse numbers that are separated by spaces.

        Args:
            text: The numbers.
            path: Where the text is in the file, for messages.

        Returns:
            The numbers in order.

        Raises:
            InputError: One of them is no number, or not finite.
        """
        try:
            numbers = [float(word) for word in text.split()]
        except ValueError:
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            raise InputError(self._wrong(text, path))
        return numbers

    def time(self, path: str) -> datetime:
        """Return the time at the path; UTC where it names no zone.

        Returns:
            The time in UTC.

        Raises:
            InputError: It is not an ISO 8601 time.
        """
        text = self.text(path)
        try:
            time = datetime.fromisoformat(text)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise InputError(self._wrong(text, path)) from error

    def _wrong(self, text: str, path: str) -> str:
        content = f"{text[:40]!r} for {_tag(path)}"
        return f"{redact_url(self.href)} has {content}: download the product again"


def read_xml(tree: Tree, name: str) -> Metadata:
    """Read an XML file of a product.

    Raises:
        InputError: The file is damaged, or declares entities or a document type.
    """
    href = tree.href(name)
    try:
        return Metadata(href, fromstring(tree.read(name), forbid_dtd=True))
    # LookupError: an unknown encoding.
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputError(
            f"{redact_url(href)} is not plain XML ({error}): download the product again"
        ) from error


def _tag(path: str) -> str:
    return path.rpartition("/")[2]
