"""Options of S3 from the environment and the files of AWS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from singula.errors import UserError

# Options of obstore, the variables of the environment and the entries of the files of AWS
_OPTIONS = {
    "access_key_id": ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
    "session_token": ("AWS_SESSION_TOKEN", "aws_session_token"),
    "region": ("AWS_REGION", "region"),
    "endpoint": ("AWS_ENDPOINT_URL_S3", "endpoint_url"),
}
_OTHER_NAMES = {"AWS_REGION": "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3": "AWS_ENDPOINT_URL"}
# Variables by which a computer in a cloud obtains credentials
_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def s3_options() -> dict[str, Any]:
    """Return the options of S3: from the environment, else from the files of AWS.

    Without credentials, requests are anonymous.

    Raises
    ------
    UserError
        ``stores.option``: the files cannot be read, the profile is missing, or the URL of the
        server is not valid.
    """
    profile = _profile()
    options: dict[str, Any] = {}
    keys_in_environment = "AWS_ACCESS_KEY_ID" in os.environ
    for option, (variable, entry) in _OPTIONS.items():
        is_key = option not in ("region", "endpoint")
        value = os.environ.get(variable) or os.environ.get(_OTHER_NAMES.get(variable, ""))
        if not value and not (is_key and keys_in_environment):
            value = profile.get(entry)
        if value:
            options[option] = value
    if "endpoint" in options:
        _check_endpoint(options["endpoint"])
    anonymous = os.environ.get("AWS_SKIP_SIGNATURE", "").lower()
    if anonymous in ("true", "1", "yes"):
        options = {key: options[key] for key in ("region", "endpoint") if key in options}
        options["skip_signature"] = True
    elif "access_key_id" not in options and not anonymous and not any(map(os.environ.get, _ROLES)):
        options["skip_signature"] = True
    return options


def _check_endpoint(url: str) -> None:
    """Raise an error if the URL of a server is not valid, for which obstore panics."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port or of an IPv6 address
        is_valid = False
    if not is_valid or any(char.isspace() for char in url):
        raise UserError(
            f"AWS_ENDPOINT_URL: got {url.rpartition('@')[2]!r}, expected a URL such as https://s3.example.org",
            "correct the variable, or endpoint_url in ~/.aws/config",
            "stores.option",
        )


def _profile() -> Mapping[str, str]:
    """Return the entries of the profile in the files of AWS; of credentials first."""
    name = os.environ.get("AWS_PROFILE") or "default"
    home = Path(os.path.expanduser("~")) / ".aws"
    entries: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = Path(os.environ.get(variable) or home / file).expanduser()
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, Error) as error:
            raise UserError(
                f"{path}: cannot be read ({str(error).splitlines()[0]})",
                "correct the file, or set another one with " + variable,
                "stores.option",
            ) from error
        if parser.has_section(section):
            entries |= dict(parser[section])
    if not entries and name != "default":
        raise UserError(
            f"AWS_PROFILE: got {name!r}, expected a profile in the files of AWS",
            "correct the variable, or add the profile to ~/.aws/credentials",
            "stores.option",
        )
    return entries
