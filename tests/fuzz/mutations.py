"""How files go wrong: bytes that are lost or changed, and values that nobody expects."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

_NASTY_VALUES = (
    None,
    True,
    "",
    " ",
    "a",
    "NaN",
    "-1",
    "1e999",
    "2024-13-45",
    "../../etc/passwd",
    "http://[",
    "EPSG:0",
    "\u0000",
    "é" * 300,
    -1,
    0,
    1e308,
    10**30,
    float("nan"),
    [],
    {},
    [[[[]]]],
    {"type": "Point"},
    [None],
    "x" * 100_000,
)
_NASTY_WORDS = (
    "",
    "0",
    "-1",
    "NaN",
    "1e999",
    "99999999999999999999",
    "null",
    "yes",
    "010",
    "é",
    "&",
    "[",
    "{",
    "'",
    '"',
    ":",
    "#",
    "!!python/object:os.system x",
    "*a",
    "%s%n",
    "x" * 5000,
)


@dataclass(frozen=True)
class Mutation:
    """A file gone wrong."""

    name: str
    """How it went wrong."""
    content: bytes
    is_loss: bool = False
    """Whether the file only lost its end, which a format that says its length must notice."""


type Mutate = Callable[[bytes, random.Random], Mutation]


def cut(content: bytes, rng: random.Random) -> Mutation:
    """Drop the end, as a download that breaks off does."""
    kept = rng.randrange(len(content))
    return Mutation(f"cut at {kept}", content[:kept], is_loss=True)


def clear_bytes(content: bytes, rng: random.Random) -> Mutation:
    """Fill a range with zeros, as a hole in a file does."""
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice((1, 4, 16, 64, 512, 4096)))
    return Mutation(
        f"zeros in {start}:{stop}", content[:start] + bytes(stop - start) + content[stop:]
    )


def flip_bits(content: bytes, rng: random.Random) -> Mutation:
    """Flip one bit each of a few bytes, more often near the start, where headers lie."""
    changed = bytearray(content)
    places = []
    for _ in range(rng.choice((1, 1, 2, 8))):
        end = len(content) if rng.random() < 0.5 else min(len(content), 1024)
        places.append(place := rng.randrange(end))
        changed[place] ^= 1 << rng.randrange(8)
    return Mutation(f"bits flipped at {sorted(places)}", bytes(changed))


def write_extreme(content: bytes, rng: random.Random) -> Mutation:
    """Overwrite a number of 2, 4 or 8 bytes with an extreme one."""
    width = rng.choice((2, 4, 8))
    start = rng.randrange(max(1, min(len(content), 2048) - width))
    number = rng.choice((b"\xff" * width, b"\x7f" + b"\xff" * (width - 1), b"\0" * width))
    changed = content[:start] + number + content[start + width :]
    return Mutation(f"{number.hex()} at {start}", changed)


def drop_range(content: bytes, rng: random.Random) -> Mutation:
    """Drop a range in the middle."""
    start = rng.randrange(len(content))
    stop = start + rng.choice((1, 2, 7, 64, 1000))
    return Mutation(f"{start}:{stop} dropped", content[:start] + content[stop:])


def repeat_range(content: bytes, rng: random.Random) -> Mutation:
    """Write a range twice."""
    start = rng.randrange(len(content))
    stop = start + rng.choice((1, 8, 100, 3000))
    return Mutation(f"{start}:{stop} twice", content[:stop] + content[start:])


def replace_whole(content: bytes, rng: random.Random) -> Mutation:
    """Put something else under the name: nothing, zeros, a server's page, text, another type."""
    name, whole = rng.choice(
        (
            ("nothing", b""),
            ("zeros", bytes(len(content))),
            ("page", b"<!DOCTYPE html><html><body>403 Forbidden</body></html>"),
            ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
            ("UTF-16", "{}\n".encode("utf-16")),
            ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0"),
            ("JSON list", b"[]"),
            ("JSON text", b'"a"'),
            ("JSON number", b"7"),
        )
    )
    return Mutation(f"{name} instead", whole)


def change_json(content: bytes, rng: random.Random) -> Mutation:
    """Change, drop or repeat one entry of a JSON document."""
    document = json.loads(content)
    places = list(_places(document))
    holder, key = rng.choice(places)
    how = rng.choice(("nasty", "nasty", "nasty", "dropped", "of a twin"))
    if how == "dropped":
        del holder[key]
    elif how == "of a twin":
        other, other_key = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[other_key]))
    else:
        holder[key] = rng.choice(_NASTY_VALUES)
    value = "" if how == "dropped" else f" {json.dumps(holder[key])[:40]}"
    return Mutation(f"{key!r} {how}{value}", json.dumps(document).encode())


def _places(document: object) -> list[tuple[dict | list, str | int]]:
    keys = (
        list(document.items())
        if isinstance(document, dict)
        else list(enumerate(document))
        if isinstance(document, list)
        else []
    )
    found = [(document, key) for key, _ in keys]
    for _, value in keys:
        found += _places(value)
    return found


def change_xml(content: bytes, rng: random.Random) -> Mutation:
    """Change the text of one element, drop the element or repeat it."""
    leaves = list(re.finditer(rb"<(\w[\w:.]*)[^<>]*>([^<>]+)</\1>", content))
    leaf = rng.choice(leaves)
    how = rng.choice(("nasty", "nasty", "dropped", "twice"))
    whole = leaf.group(0)
    if how == "nasty":
        word = rng.choice(_NASTY_WORDS).encode()
        start, stop = leaf.span(2)
        return Mutation(
            f"{leaf.group(1)!r} is {word[:40]!r}", content[:start] + word + content[stop:]
        )
    changed = b"" if how == "dropped" else whole + whole
    start, stop = leaf.span()
    return Mutation(f"{leaf.group(1)!r} {how}", content[:start] + changed + content[stop:])


def change_line(content: bytes, rng: random.Random) -> Mutation:
    """Change what follows `:`, `=` or `,` in one line, drop the line or repeat it."""
    lines = content.splitlines(keepends=True)
    number = rng.randrange(len(lines))
    how = rng.choice(("nasty", "nasty", "nasty", "dropped", "twice", "indented"))
    line = lines[number]
    if how == "nasty":
        parts = re.split(rb"([:=,])", line.rstrip(b"\n"))
        parts[rng.randrange(0, len(parts), 2)] = b" " + rng.choice(_NASTY_WORDS).encode()
        lines[number] = b"".join(parts) + b"\n"
    else:
        lines[number] = {"dropped": b"", "twice": line + line, "indented": b"   " + line}[how]
    return Mutation(f"line {number + 1} {how}: {lines[number][:60]!r}", b"".join(lines))


def change_encoding(content: bytes, rng: random.Random) -> Mutation:
    """Write the text in another encoding, or with other ends of lines."""
    text = content.decode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-8-sig", "utf-32", "cp037"))
    if rng.random() < 0.3:
        return Mutation("ends of lines", content.replace(b"\n", rng.choice((b"\r", b"\r\n"))))
    return Mutation(encoding, text.encode(encoding, "replace"))


BINARY: tuple[Mutate, ...] = (
    cut,
    clear_bytes,
    flip_bits,
    write_extreme,
    drop_range,
    repeat_range,
    replace_whole,
)
TEXT: tuple[Mutate, ...] = (cut, flip_bits, drop_range, replace_whole, change_encoding)
JSON: tuple[Mutate, ...] = (*[change_json] * 6, *TEXT)
XML: tuple[Mutate, ...] = (*[change_xml] * 6, *TEXT)
LINES: tuple[Mutate, ...] = (*[change_line] * 6, *TEXT)
