"""S3 server on this computer, and the options to use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from store_server import StoreServer, serving

from singula.util import store_errors

SECONDS = "3"


def use_own_options(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Remove the options of the user, and shorten the time of retries."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv(store_errors.TIMEOUT_VARIABLE, SECONDS)


@contextmanager
def serving_s3(bucket: str) -> Iterator[tuple[int, Any]]:
    """Run a server with an empty bucket; yield its port and the store of the bucket."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed (tests/io/moto.txt)")
    import boto3
    import obstore

    running = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    port = running.get_host_and_port()[1]
    endpoint = f"http://127.0.0.1:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key="secret",
    ).create_bucket(Bucket=bucket)  # fmt: skip
    yield (
        port,
        obstore.store.S3Store(
            bucket, endpoint=endpoint, region="us-east-1", access_key_id="key",
            secret_access_key="secret", client_options={"allow_http": True},
        ),
    )  # fmt: skip
    running.stop()


@contextmanager
def failing_s3(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    """Run a server that can fail in front of an S3 server, and use it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(StoreServer(port_behind=port)) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running
