"""HTTP connections to catalogues: retries, a time limit, and no way into private networks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from pystac_client.stac_api_io import StacApiIO
from urllib3.util import Retry

from lulc.sources.href import check_host

_TIMEOUT_S = 60.0


def connect(url: str) -> StacApiIO:
    """Return a reader of the catalogue at this address.

    It also reads what the catalogue links to, on its own host or on a public one: requests and
    redirects to other hosts pass `check_host`.
    """
    catalogue_host = urlsplit(url).netloc

    def check(address: str) -> None:
        if urlsplit(address).netloc != catalogue_host:
            check_host(address)

    def check_request(request: requests.Request) -> None:
        check(str(request.url))

    def check_redirect(response: requests.Response, **_: Any) -> None:
        if response.is_redirect:
            check(urljoin(str(response.url), response.headers["location"]))

    # A STAC API is searched with POST, which changes nothing.
    retries = Retry(
        5,
        backoff_factor=0.2,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "POST"),
    )
    stac_io = StacApiIO(max_retries=retries, request_modifier=check_request, timeout=_TIMEOUT_S)
    stac_io.session.hooks["response"].append(check_redirect)
    return stac_io
