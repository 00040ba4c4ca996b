"""Text that may be shown or kept: settings, addresses and errors without secrets."""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"secret|passw|token|credential|signature|(^|[._-])key([._-]|$)", re.IGNORECASE
)


def redact_setting(name: str, value: str) -> str:
    """A setting's value without what must not be read by others: passwords and keys, user and query of addresses."""
    if _SECRET.search(name):
        return "***"
    return re.sub(r"://[^/\s]*@", "://", re.sub(r"(://[^?#\s]*)[?#]\S*", r"\1", value))


def first_line(error: Exception) -> str:
    """The first line of another library's error, without passwords in addresses."""
    return redact_setting(
        "error", str(error).splitlines()[0] if str(error) else type(error).__name__
    )[:200]


def redact_url(href: str) -> str:
    """The href as messages may show it: without user and query, where an address carries its key; a long one shortened."""
    plain = re.sub(r"://[^/]*@", "://", href.split("?", maxsplit=1)[0])
    return plain if len(plain) <= 200 else f"{plain[:60]}…{plain[-139:]}"
