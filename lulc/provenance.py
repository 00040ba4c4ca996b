"""What a run says of itself to others: its settings and errors without secrets, the commit of its code."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lulc
from lulc.conf import Run

_SECRET = re.compile(r"secret|passw|token|credential|signature|(^|[._-])key([._-]|$)", re.IGNORECASE)


def settings(run: Run) -> dict[str, str]:
    """Every setting of a run file by its dotted name; secrets are left out of the values."""
    found: dict[str, str] = {}

    def flatten(name: str, value: Any) -> None:
        if isinstance(value, Mapping | tuple | list) and value:
            for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
                flatten(f"{name}.{key}" if name else str(key), part)
        else:
            found[re.sub(r"[^\w\-. /]", "_", name)[:250]] = clean(name, "" if value in ((), [], {}) else str(value))[:6000]

    flatten("", dataclasses.asdict(run))
    return found


def clean(name: str, value: str) -> str:
    """A setting's value without what must not be read by others: passwords and keys, user and query of addresses."""
    if _SECRET.search(name):
        return "***"
    return re.sub(r"://[^/\s]*@", "://", re.sub(r"(://[^?#\s]*)[?#]\S*", r"\1", value))


def explain(error: Exception) -> str:
    """The first line of another library's error, without passwords in addresses."""
    return clean("error", str(error).splitlines()[0] if str(error) else type(error).__name__)[:200]


def find_commit() -> str | None:
    """The git commit of the code that runs, None where it is installed without its history."""
    place = Path(lulc.__file__).parents[1]
    if not (place / ".git").exists():
        return None
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, check=False)
    return said.stdout.strip() or None
