"""Errors of object stores and web servers, which name the URL and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from singula.errors import UserError

TIMEOUT_VARIABLE = "SINGULA_STORE_TIMEOUT"
"""Environment variable with the seconds for which a failing request is repeated."""
_MISSING = re.compile(r"status code: 404|NoSuchKey|NoSuchBucket")
_DENIED = re.compile(r"status code: 40[13]|AccessDenied")
_INVALID_KEY = re.compile(r"<Code>(ExpiredToken|TokenRefreshRequired|Invalid(Token|AccessKeyId))<")
_OTHER_REGION = re.compile(r"status code: 30[1278]|redirect", re.IGNORECASE)


def can_list(url: str) -> bool:
    """Return True if the store of a URL can list its files."""
    return url.startswith("s3:")


@contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Convert the errors of a store to `UserError`.

    Raises
    ------
    UserError
        ``stores.missing``: the file or bucket does not exist; ``stores.denied``: permission or
        credentials are missing; ``stores.credentials``: they have expired; ``stores.region``: the
        bucket is in another region; ``stores.failed``: the store did not answer, or answered with
        an error, after all retries.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        converted = store_error(url, error)
        if converted is None:
            raise
        raise converted from error


def missing_url(url: object) -> UserError:
    """Return the error for a URL that does not exist."""
    hint = "correct the URL"
    if not can_list(str(url)):
        hint += "; a web server lists no folders, so give the URL of an OME-Zarr image"
    return UserError(f"{url}: does not exist", hint, "stores.missing")


def denied_url(url: str) -> UserError:
    """Return the error for a URL to which access was denied."""
    return UserError(
        f"{url}: access was denied",
        "give credentials with permission (for S3: AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY; AWS_SKIP_SIGNATURE=true for public data), and check the URL",
        "stores.denied",
    )


def store_error(url: str, error: BaseException) -> UserError | None:
    """Return the error for an exception of obstore; None for another exception."""
    kind = type(error)
    if not (kind.__module__.startswith("obstore") or isinstance(error, OSError)):
        return None
    text = str(error)
    if isinstance(error, FileNotFoundError) or kind.__name__ == "NotFoundError":
        return missing_url(url)
    if _INVALID_KEY.search(text):
        return UserError(
            f"{url}: the credentials are not valid, or have expired",
            "obtain new ones, and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_SESSION_TOKEN, or the profile in ~/.aws/credentials",
            "stores.credentials",
        )
    denied = isinstance(error, PermissionError) or kind.__name__ in (
        "PermissionDeniedError", "UnauthenticatedError",
    )  # fmt: skip
    if denied or _DENIED.search(text):
        return denied_url(url)
    if _OTHER_REGION.search(text):
        return UserError(
            f"{url}: the store redirects to another region or server ({reason_of(error)})",
            "set AWS_REGION to the region of the bucket, and AWS_ENDPOINT_URL for another provider",
            "stores.region",
        )
    if _MISSING.search(text):
        return missing_url(url)
    return UserError(
        f"{url}: the store did not answer a request, also after repeating it ({reason_of(error)})",
        "check the network and the server, and repeat the command (`predict` and `run` with "
        "--resume); "
        f"{TIMEOUT_VARIABLE} sets the seconds for which requests are repeated",
        "stores.failed",
    )


def reason_of(error: BaseException) -> str:
    """Return the first line of the message of an exception, without the request and the answer.

    Answers can contain credentials.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = (lines[0] if lines else type(error).__name__).rpartition(" - ")[2]
    return re.sub(r"(status code: \d+ [\w ]+):.*", r"\1", line)[:200]
