"""Addresses that need a signature, signed when a file is opened.

`lulc.redact.strip_credentials` takes signatures off before an address is stored.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import urllib.request
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.error import HTTPError

from lulc.errors import InputError
from lulc.redact import redact_text, redact_url

_BLOB = re.compile(r"https://([a-z0-9]+)\.blob\.core\.windows\.net/([a-z0-9$-]+)/")
_TOKEN_API = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
# Seconds that a token must still be valid, so that it outlives the read it is used for.
_MARGIN = 300
# Container → token, and the time of this process's monotonic clock until which it is used.
_tokens: dict[str, tuple[str, float]] = {}


def sign(href: str) -> str:
    """Return the href with the token that its host needs.

    Files of the Planetary Computer get a token, all others stay as they are. One token per
    container is requested and used until it expires. `PC_SDK_SUBSCRIPTION_KEY` and
    `PC_SDK_SAS_URL` are heeded, as by the Planetary Computer's own SDK.

    Raises:
        InputError: the Planetary Computer gives no token.
    """
    blob = _BLOB.match(href)
    token = "" if blob is None or "?" in href else _token(f"{blob[1]}/{blob[2]}")
    return f"{href}?{token}" if token else href


def _token(container: str) -> str:
    token, valid_until = _tokens.get(container, ("", -math.inf))
    if time.monotonic() >= valid_until:
        token, valid_until = _request_token(container)
        _tokens[container] = (token, valid_until)
    return token


def _request_token(container: str) -> tuple[str, float]:
    # A token and until when to use it. How long that is tells the server's clock, not this
    # machine's.
    api = os.environ.get("PC_SDK_SAS_URL", _TOKEN_API)
    key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
    headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
    request = urllib.request.Request(f"{api}/{container}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
            now = parsedate_to_datetime(response.headers["Date"])
        seconds = (datetime.fromisoformat(answer["msft:expiry"]) - now).total_seconds()
        return str(answer["token"]), time.monotonic() + seconds - _MARGIN
    except HTTPError as error:
        if error.code != 404:
            raise InputError(
                f"no token for {container}: the Planetary Computer answers {error.code}"
            ) from error
        # Another's container, which it does not know: open to all, or not.
        return "", time.monotonic() + 3600
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no token for {container} from {redact_url(api)}: {redact_text(error)}"
        ) from error
