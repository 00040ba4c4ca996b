"""What an object store refuses, as an error that says what to do."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from obstore.exceptions import AlreadyExistsError

from lulc.errors import InputError, StoreError
from lulc.redact import redact_text
from lulc.store_access import CREDENTIALS, region, store_endpoint

_READER, _WRITER = "role Storage Blob Data Reader", "role Storage Blob Data Contributor"
_CREATE = "storage.objects.create and storage.objects.delete"
_PERMISSIONS = {
    "read": {"s3": "s3:GetObject", "gs": "storage.objects.get", "abfs": _READER},
    "list": {"s3": "s3:ListBucket", "gs": "storage.objects.list", "abfs": _READER},
    "write": {"s3": "s3:PutObject", "gs": _CREATE, "abfs": _WRITER},
    "delete": {"s3": "s3:DeleteObject", "gs": "storage.objects.delete", "abfs": _WRITER},
}
"""Action → scheme → what has to be granted for it."""

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
_UNLISTED = re.compile(r"object with invalid path: .*?Path \"(.*?)\"(?: contained|: )", re.S)
"""What obstore says where a folder has a name that it cannot ask for."""
_OTHER_REGION = re.compile(r"<Region>([\w-]+)</Region>|expecting '([\w-]+)'")


@dataclass(frozen=True)
class _Refusal:
    """What a store or obstore says, and what its user is told."""

    said: str
    """Pattern of the error's class and text."""
    told: str
    """With names in braces, which `explain` fills in."""
    is_denial: bool = False
    """Whether other credentials could be let in."""


_REFUSALS = (
    _Refusal(_NO_BUCKET.pattern, "there is no bucket {bucket}: make it, or correct its name"),
    # The address at which a machine of a cloud asks for its identity.
    _Refusal(
        r"169\.254\.169\.254",
        "there are no credentials: set {names}, or give this machine's identity access",
        is_denial=True,
    ),
    _Refusal(
        "Account must be specified",
        "no storage account is named: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/…, or "
        "set AZURE_STORAGE_ACCOUNT_NAME",
    ),
    _Refusal(
        "error sending request",
        "{server} does not answer: check the network, and the endpoint if one is set",
    ),
    _Refusal("ExpiredToken", "the token has expired: set {names}"),
    # In the words of S3, of Azure, and of the server of Google's tokens.
    _Refusal(
        "RequestTimeTooSkewed|RequestExpired|Request date header too old|in a reasonable timeframe",
        "this machine's clock is not the store's (it says {time} UTC): set it, as by "
        "`timedatectl set-ntp true`",
    ),
    _Refusal(
        "PermanentRedirect|AuthorizationHeaderMalformed|redirect without LOCATION"
        "|IllegalLocationConstraint",
        "the bucket is in {place}, not in {region}: set AWS_REGION to its region",
    ),
    _Refusal(
        "QuotaExceeded|InsufficientStorage|StorageFull|507 Insufficient Storage",
        "the store is full, or its quota is used up: free space or raise the quota",
    ),
    _Refusal(
        "^UnauthenticatedError|^PermissionDeniedError.*"
        "(InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|Unauthorized)",
        "{line}: set {names}, or give this machine's identity access",
        is_denial=True,
    ),
    _Refusal(
        "^PermissionDeniedError",
        "{line}: grant {permission} on it, or set {names} of one who may {action} it",
        is_denial=True,
    ),
    _Refusal("", "{line}"),
)
"""The first of these that fits is told."""


def explain(root: str, key: str, action: str, error: Exception) -> Exception:
    """Return a store's error as one of a file system or of this project: a line without secrets.

    Args:
        root: scheme and bucket.
        key: of the object or folder that was asked for.
        action: read, list, write or delete.
        error: of obstore.
    """
    address, text = f"{root}/{key}", f"{type(error).__name__}: {error}"
    if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(text):
        return FileNotFoundError(errno.ENOENT, "is not there", address)
    if isinstance(error, AlreadyExistsError | FileExistsError):
        return FileExistsError(errno.EEXIST, "another object is there", address)
    if unlisted := _UNLISTED.search(text):
        return InputError(
            f"{address} cannot be listed, as there is {unlisted[1]!r}: its name has two slashes "
            "side by side, `.` or `..` between slashes, or a character that cannot be printed; "
            "rename or delete it"
        )
    refusal = next(candidate for candidate in _REFUSALS if re.search(candidate.said, text, re.S))
    scheme, _, bucket = root.partition("://")
    other_region = _OTHER_REGION.search(text)
    message = refusal.told.format(
        action=action,
        bucket=bucket,
        line=_first_line(error),
        names=CREDENTIALS[scheme],
        permission=_PERMISSIONS[action][scheme],
        place=f"region {other_region[1] or other_region[2]}" if other_region else "another region",
        region=region(),
        server=redact_text(store_endpoint(scheme) or "the cloud that it is of"),
        time=f"{datetime.now(UTC):%H:%M}",
    )
    return StoreError(address, message, is_denial=refusal.is_denial)


def _first_line(error: Exception) -> str:
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    line = redact_text(str(error).partition("\n")[0], 300)
    line = re.split(r": <(?:\?xml|Error)", line)[0].rstrip(": ")
    return f"{line} ({code[1]})" if code else line
