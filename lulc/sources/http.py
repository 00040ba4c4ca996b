"""Connections to catalogues: retried, with a time limit, and kept from private networks that only an answer names."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from pystac_client.stac_api_io import StacApiIO
from urllib3.util import Retry

from lulc.sources.href import check_host

_SECONDS = 60.0


def connect(url: str) -> StacApiIO:
    """A reader of the catalogue at this address, and of what it links to on its own host or on a public one."""
    own = urlsplit(url).netloc

    def check(address: str) -> None:
        if urlsplit(address).netloc != own:
            check_host(address)

    def check_request(request: requests.Request) -> None:
        check(str(request.url))

    def check_redirect(response: requests.Response, **_: Any) -> None:
        if response.is_redirect:
            check(urljoin(str(response.url), response.headers["location"]))

    # POST is how a search is asked: it changes nothing.
    again = Retry(
        5,
        backoff_factor=0.2,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "POST"),
    )
    made = StacApiIO(max_retries=again, request_modifier=check_request, timeout=_SECONDS)
    made.session.hooks["response"].append(check_redirect)
    return made


def describe_failure(error: Exception) -> str:
    """What went wrong, short, and without the query of any address."""
    return re.sub(r"\?\S*", "", str(error))[:300]
