"""Errors of stores at a URL, in one line: what is wrong, where, and the way out.

`s3fs` raises the server's answers as errors of the operating system, with botocore's error as their cause; botocore's
own errors have no common base with these. What may pass becomes a TemporaryError, all else a StoreError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from variorum.machine.retrying import may_pass, passing
from variorum.schemas.errors import StoreError, TemporaryError, VariorumError, causes, cut

CLIENTS = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "s3fs", "urllib3"})
"""Packages whose errors come from a file system on a network."""
RIGHTS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CopyObject": "s3:GetObject and s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject and s3:ListBucket",  # without the latter a missing file looks forbidden
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
}
"""The right that a request needs; all others write and need s3:PutObject."""
KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
SAID = {
    "InvalidAccessKeyId": f"it doesn't know the access key; {KEYS}",
    "SignatureDoesNotMatch": f"the secret key doesn't belong to the access key; {KEYS}",
    "InvalidToken": f"it doesn't know the session token; {KEYS}",
    "ExpiredToken": "the session token has expired; get a new one",
    "RequestExpired": "the session token has expired; get a new one",
    "RequestTimeTooSkewed": "the clock of this machine differs from the server's by more than it accepts; set the "
    "clock, for example with: timedatectl set-ntp true",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region; set AWS_REGION",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "301": "the bucket is in another region; set AWS_REGION",
    "InvalidObjectState": "a file is archived and can't be read; restore it, or use another storage class",
    "EntityTooLarge": "a file is larger than it accepts; lower samples_per_shard",
    **dict.fromkeys(
        ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"),
        "a file arrived changed, again and again; look for a faulty network, memory or proxy",
    ),
}
"""What the server's answers mean, by their code."""
FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
PASSING = frozenset(
    {"SlowDown", "ThrottlingException", "RequestTimeout", "InternalError", "OperationAborted", "429", "408", "409"}
    | {"ServiceUnavailable", "ConditionalRequestConflict", "TooManyRequests", "RequestTimeoutException"}
)
"""Codes below 500 among them, by which a server asks to come back later."""
OWN = {
    "NoCredentialsError": f"no keys found; {KEYS}",
    "PartialCredentialsError": f"only half of the keys found; {KEYS}",
    "CredentialRetrievalError": f"the keys can't be had; {KEYS}",
    "ProfileNotFound": "AWS_PROFILE names a profile that isn't there; correct it",
    "ParamValidationError": "no bucket has such a name; correct --store",
    "NoRegionError": "no region; set AWS_REGION",
    "UnauthorizedSSOTokenError": "the login has expired; run: aws sso login",
    "SSOTokenLoadError": "there is no login; run: aws sso login",
    "TokenRetrievalError": "the login has expired; run: aws sso login",
}
"""Errors that botocore raises before it asks, by their class."""


def code_of(error: BaseException) -> str:
    """The code of a server's answer that led to an error, such as `AccessDenied` or `404`; "" without one."""
    return next((str(one.response.get("Error", {}).get("Code", "")) for one in _answers(error)), "")


def explained(store: object, root: str, error: Exception, *, reading: bool = False) -> VariorumError | None:
    """The error in one line, or None for one that doesn't come from the file system.

    Args:
        store: its name.
        root: its path in the file system, which begins with the bucket.
        error: as the client raised it.
        reading: whether it came from reading only.
    """
    answers = list(_answers(error))
    if answers:
        return _answered(store, root, answers[0], reading=reading)
    kinds = {type(one).__name__ for one in causes(error)}
    if own := next((OWN[kind] for kind in OWN if kind in kinds), ""):
        return StoreError(f"{store}: {own}")
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return StoreError(f"{store}: {cut(str(error))}; set AWS_ENDPOINT_URL_S3 to http://HOST:PORT or https://HOST")
    packages = {type(one).__module__.partition(".")[0] for one in causes(error)}
    if packages & CLIENTS or any(map(may_pass, causes(error))):
        return _unreachable(store, error)
    return None


def _answered(store: object, root: str, error: Any, *, reading: bool) -> VariorumError:
    """Translate a server's answer."""
    said, status = error.response.get("Error", {}), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, bucket = str(said.get("Code", "")), root.partition("/")[0]
    if code in FULL:
        return StoreError(
            f"{store}: no space left ({code}); what is finished is kept: free some and run the same command again"
        )
    if code in PASSING or (isinstance(status, int) and status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        why = cut(str(said.get("Message") or code))
        return TemporaryError(
            f"{store}: it doesn't do its work now ({code}: {why}); finished work is kept: run the same command again "
            f"when this is over"
        )
    if code in SAID:
        return StoreError(f"{store}: {SAID[code]}")
    if code == "NoSuchBucket":
        return StoreError(f"{store}: there is no bucket {cut(bucket)}{_where()}; make it, or correct --store")
    if code in ("AccessDenied", "AllAccessDisabled", "403"):
        right = RIGHTS.get(error.operation_name, "s3:PutObject")
        way = "or choose another place with --store" if not reading else "or use another key"
        return StoreError(f"{store}: bucket {cut(bucket)} forbids it; give this key the right {right}, {way}")
    why = cut(str(said.get("Message") or code))
    return StoreError(f"{store}: bucket {cut(bucket)} refuses {error.operation_name} ({code}: {why})")


def _unreachable(store: object, error: Exception) -> TemporaryError:
    first = next((one for one in causes(error) if str(one).strip()), error)
    return passing(store, RuntimeError(f"{cut(' '.join(str(first).split()))}{_where()}"))


def _where() -> str:
    """The address that the environment names, in words."""
    from variorum.schemas.secrets import shown

    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return f" at {cut(shown(url))}" if url else ""


def _answers(error: BaseException) -> Iterator[Any]:
    """Botocore's errors with a server's answer among those that led to an error."""
    for one in causes(error):
        if isinstance(getattr(one, "response", None), dict) and hasattr(one, "operation_name"):
            yield one
