"""Addresses that need a signature: made when a file is opened, taken off before an address is kept."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from lulc.errors import InputError

# Azure's shared access signatures, AWS's and Google's signed requests (versions 4 and 2), CloudFront's, and plain tokens.
_SECRET = re.compile(
    r"sig|signature|x-(amz|goog)-.*|policy|key-pair-id|.*(token|secret|password|api.?key|access.?key).*",
    re.I,
)

_BLOB = re.compile(r"https://([a-z0-9]+)\.blob\.core\.windows\.net/([a-z0-9$-]+)/")
_MARGIN = 300  # seconds that a token must still hold, so that it outlives the read it is taken for
_tokens: dict[str, tuple[str, float]] = {}


def unsigned(value: Any) -> Any:
    """The value (a text, or lists and mappings of such) with no signature, token or password in any of its addresses."""
    if isinstance(value, dict):
        return {k: unsigned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unsigned(v) for v in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    secret = _holds_secret(key for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(
        parts._replace(netloc=parts.netloc.rpartition("@")[2], query="" if secret else parts.query)
    )


def sign(href: str) -> str:
    """The href as its host opens it: files of the Planetary Computer get a token, all others stay as they are.

    One token a container is asked for and kept until it expires. `PC_SDK_SUBSCRIPTION_KEY` and `PC_SDK_SAS_URL` are heeded, as
    by the Planetary Computer's own SDK. InputError where no token is given.
    """
    place = _BLOB.match(href)
    token = "" if place is None or "?" in href else _token(f"{place[1]}/{place[2]}")
    return f"{href}?{token}" if token else href


def _token(container: str) -> str:
    token, until = _tokens.get(container, ("", 0.0))
    if time.time() < until:
        return token
    place = os.environ.get(
        "PC_SDK_SAS_URL", "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    )
    key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
    request = urllib.request.Request(
        f"{place}/{container}", headers={"Ocp-Apim-Subscription-Key": key} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = json.load(answer)
        token, until = (
            str(said["token"]),
            datetime.fromisoformat(said["msft:expiry"]).timestamp() - _MARGIN,
        )
    except HTTPError as error:
        if error.code != 404:
            raise InputError(
                f"no token for {container}: the Planetary Computer answers {error.code}"
            ) from error
        # Another's container, which it does not know: open to all, or not.
        token, until = "", time.time() + 3600
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"no token for {container} from {place}: {error}") from error
    _tokens[container] = (token, until)
    return token


def _holds_secret(names: Iterable[str]) -> bool:
    return any(_SECRET.fullmatch(name) for name in names)
