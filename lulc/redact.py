"""What may be shown or kept of a text: addresses, settings and messages without their secrets.

A secret is a user name or password in an address, a signature, token or key in its query or
fragment, and the value of a setting with such a name.

- `redact_url`: an address in a message. Its query is never shown.
- `redact_text`: any other text in a message, such as an error of another library.
- `redact_setting`: a setting that is logged or reported, with the settings under it.
- `strip_credentials`: addresses that are kept to be opened again. A query without a secret stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

HIDDEN = "***"
"""Written in place of a secret."""

# Names of query parameters and of settings. The last line has the remaining parameters of Azure's
# shared access signatures, AWS's and Google's signed requests (versions 4 and 2) and CloudFront's.
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|token|credential|signature"
    r"|(access|account|api|private|shared|subscription).?key|(^|[._-])(auth|authorization|jwt|pwd)$"
    r"|(^|(?<!orbit)[._-])pass$|(^|[._-])sas([._-]|$)"  # an orbit's pass is no secret
    r"|^(sig|policy|key-pair-id)$|^x-(amz|goog)-",
    re.IGNORECASE,
)
# A key is secret in settings; in a query it may be the name of an object.
_KEY_NAME = re.compile(r"(^|[._-])key([._-]|$)", re.IGNORECASE)

# The user and password of an address. The second form has a `/` or `?` in its password; it starts
# with a colon, as a port does. Of Azure's `abfs://container@account` the container is no user.
_CONTAINER = (
    r"(?:(?<=\babfs://)|(?<=\babfss://))[a-z0-9$][a-z0-9-]{2,62}@[\w.-]+:?"
    r"(?:[/?#\s'\")\]}>,;]|$)"
)
_USER = re.compile(rf"://(?:(?!{_CONTAINER})[^/?]*@|[^/:@\[]*:(?!\d*(?:[/?#\s]|$)).*@)")
_URLLIB3_PATH = re.compile(r"(\burl: /[^?\s]*)\?\S*")  # its errors name an address without host
_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)=([^\s&'\"]+)")
_QUOTED_PAIR = re.compile(r"((['\"])([\w. -]+)\2\s*:\s*(['\"])).*?\4")
_AUTHORIZATION = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE)
_NEXT_ADDRESS = re.compile(r"(?<=[\s'\"<>()\[\]{}|])(?=[A-Za-z][\w+.-]*://)")
_PUNCTUATION = "'\")]>}.,;:"

_LONGEST_URL = 200
_LONGEST_TEXT = 10_000


def redact_url(href: str) -> str:
    """Return an address or path as messages may show it.

    Returns:
        The address without user and query, or the path as it is; over 200 characters, its middle
        is left out.
    """
    address = _USER.sub("://", href)
    for mark in "?#":
        before, _, after = address.partition(mark)
        # A path on this machine's disk may hold both marks.
        if (mark == "?" and "://" in address) or _has_secret(after):
            address = before
    if len(address) <= _LONGEST_URL:
        return address
    return f"{address[:60]}…{address[-139:]}"


def file_name(href: str) -> str:
    """Return the name of a file or folder, of its address or path, for those it is handed on to."""
    return redact_url(href).rstrip("/").rpartition("/")[2]


def redact_text(text: str | BaseException, limit: int = _LONGEST_TEXT) -> str:
    """Return a text as messages may show it, such as the error of another library.

    Args:
        text: a text or an error, with any number of addresses.
        limit: most characters of the result.

    Returns:
        The text with no user and no query in any address, and `***` for the value of each secret
        `name=value`.
    """
    # Hostile servers send text without end.
    text = _URLLIB3_PATH.sub(r"\1", str(text)[:_LONGEST_TEXT])
    text = re.sub(r"\S+", lambda word: _cut_query(_cut_address(word[0])), text)
    return _hide_pairs(text)[:limit]


def first_line(error: Exception) -> str:
    """Return the first line of an error as messages may show it, at most 200 characters."""
    lines = str(error).splitlines()
    return redact_text(lines[0] if lines else type(error).__name__, 200)


def redact_setting(name: str, value: Any) -> Any:
    """Return a setting's value as it may be logged or reported.

    Args:
        name: name of the setting, with dots between the names of nested settings.
        value: a text, mappings and sequences of such, or any other value.

    Returns:
        The value with lists for tuples, `***` for each text with a secret's name, and all others
        without user, query and fragment of an address.
    """
    is_secret = _is_secret_setting(name)
    if isinstance(value, Mapping):
        # All under a secret's name is secret.
        prefix = f"{name}." if name else ""
        return {
            key: redact_setting(name if is_secret else f"{prefix}{key}", entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_setting(name, entry) for entry in value]
    if not isinstance(value, str):
        return value
    if is_secret:
        return HIDDEN
    return _hide_pairs(re.sub(r"\S+", lambda word: _cut_address(word[0]), value))


def strip_credentials(value: Any) -> Any:
    """Return a value whose addresses hold no user, signature, token or password.

    Args:
        value: a text, mappings and lists of such, or any other value.

    Returns:
        The value; an address without a secret is unchanged, as it may need its query.
    """
    if isinstance(value, dict):
        return {key: strip_credentials(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [strip_credentials(entry) for entry in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    return "".join(_strip_address(text) for text in _NEXT_ADDRESS.split(value))


def _strip_address(text: str) -> str:
    # Of one address, which may hold spaces, and the text before the next one.
    text = _USER.sub("://", text)
    for mark in "#?":
        before, _, after = text.partition(mark)
        if _has_secret(after):
            text = before + after[len(after.rstrip()) :]
    return text


def _has_secret(query: str) -> bool:
    for pair in re.split(r"[&;?#]", query):
        name, _, value = pair.partition("=")
        if _SECRET_NAME.search(unquote_plus(name).strip()):
            return True
        # The value may be an encoded address.
        plain = unquote_plus(value)
        if _USER.search(plain) or (plain != value and _has_secret(plain)):
            return True
    return False


def _is_secret_setting(name: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _KEY_NAME.search(name))


def _cut_address(word: str) -> str:
    # A word without the user, the query and the fragment of the address in it.
    scheme, mark, address = _USER.sub("://", word).partition("://")
    if not mark:
        return word
    return scheme + mark + _cut(address, re.search("[?#]", address))


def _cut_query(word: str) -> str:
    # A word without a query, plain or percent-encoded: an address may come without its scheme.
    start = re.search(r"\?|%3F", word, re.IGNORECASE)
    if start is None or not re.search("=|%3D", word[start.end() :], re.IGNORECASE):
        return word
    return _cut(word, start)


def _cut(word: str, start: re.Match[str] | None) -> str:
    # Punctuation after the query belongs to the sentence.
    if start is None:
        return word
    return word[: start.start()] + word[max(len(word.rstrip(_PUNCTUATION)), start.end()) :]


def _hide_pairs(text: str) -> str:
    def hide(pair: re.Match[str]) -> str:
        return f"{pair[1]}={HIDDEN}" if _is_secret_setting(pair[1]) else pair[0]

    def hide_quoted(pair: re.Match[str]) -> str:
        return f"{pair[1]}{HIDDEN}{pair[4]}" if _is_secret_setting(pair[3]) else pair[0]

    text = _QUOTED_PAIR.sub(hide_quoted, _PAIR.sub(hide, text))
    return _AUTHORIZATION.sub(rf"\1 {HIDDEN}", text)
