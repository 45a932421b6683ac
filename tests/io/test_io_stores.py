"""Images at URLs: equal to local images, with clear errors from servers that fail."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from s3_server import failing_s3, serving_s3, use_own_options
from store_server import StoreServer, every, serving

from singula.config.yaml_source import read_yaml
from singula.dataset.checks.inspect import inspect_dataset
from singula.errors import UserError
from singula.inference import gather_images
from singula.io.block_array import BlockArray
from singula.io.files import change_stamp
from singula.io.lazy import open_image, open_labels
from singula.io.list_images import list_images
from singula.io.read import read_image, read_labels
from singula.util import object_stores, store_errors
from singula.util.locations import RemotePath, is_remote, location
from singula.util.paths import user_path

obstore = pytest.importorskip("obstore", reason="the extra stores is not installed")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_own_options(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an image that has labels, in 16 chunks, and an image in shards."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (96, 96), np.uint8)
    for name, inside, kind, shards in (
        ("cells.ome.zarr", "", "image", None),
        ("cells.ome.zarr", "labels/nuclei", "labels", None),
        ("sharded.zarr", "", "image", (96, 96)),
    ):
        array = BlockArray.create(
            folder / name, pixels.shape, np.uint8, ndim=2, kind=kind, inside=inside,
            spacing=(0.5, 0.25), unit="µm", chunks=(24, 24), shards=shards,
        )  # fmt: skip
        for box in array.blocks():
            array.write(box, pixels[box])
        array.finish()
    return folder


@pytest.fixture
def server(images: Path) -> Iterator[StoreServer]:
    with serving(StoreServer(images)) as running:
        yield running


def _code(url: str) -> str:
    with pytest.raises(UserError) as caught:
        read_image(url, 2)
    assert "127.0.0.1" in caught.value.message or "s3://" in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("name", ["cells.ome.zarr", "sharded.zarr"])
def test_an_image_of_a_server_equals_the_local_image(images, server, name: str) -> None:
    remote, local = read_image(f"{server.url}/{name}", 2), read_image(images / name, 2)
    np.testing.assert_array_equal(remote.array, local.array)
    assert (remote.spacing, remote.unit, remote.name) == (local.spacing, local.unit, local.name)
    lazy = open_image(f"{server.url}/{name}", 2)
    box = (slice(10, 60), slice(30, 90))
    np.testing.assert_array_equal(lazy.read(box), local.array[box])
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again.read(box), local.array[box])


def test_labels_of_a_server_that_lists_no_files(images, server) -> None:
    url = f"{server.url}/cells.ome.zarr"
    expected = read_labels(images / "cells.ome.zarr", 2)
    np.testing.assert_array_equal(read_labels(url, 2).array, expected.array)
    np.testing.assert_array_equal(
        open_labels(url, 2).read((slice(0, 9), slice(5, 50))), expected.array[:9, 5:50]
    )


@pytest.mark.parametrize("fault", ["503", "cut"])
def test_requests_that_fail_now_and_then_are_repeated(images, server, fault: str) -> None:
    server.fault = every(4, fault)
    remote = read_image(f"{server.url}/cells.ome.zarr", 2)
    np.testing.assert_array_equal(remote.array, read_image(images / "cells.ome.zarr", 2).array)


def test_requests_that_time_out_are_repeated(images, server) -> None:
    server.fault = lambda path, number: "hang" if path.endswith("c/1/1") and not number else ""
    remote = read_image(f"{server.url}/cells.ome.zarr", 2)
    np.testing.assert_array_equal(remote.array, read_image(images / "cells.ome.zarr", 2).array)
    assert server.requests["/cells.ome.zarr/0/c/1/1"] > 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("403", "stores.denied"),
        pytest.param("cut", "stores.failed", marks=pytest.mark.slow),
        pytest.param("503", "stores.failed", marks=pytest.mark.slow),
    ],
)
def test_chunks_that_always_fail_are_not_read_as_zeros(server, fault: str, code: str) -> None:
    server.fault = lambda path, number: fault if "/0/c/2/" in path else ""
    assert _code(f"{server.url}/cells.ome.zarr") == code


def test_errors_of_servers(server) -> None:
    assert _code(f"{server.url}/missing.zarr") == "stores.missing"
    server.fault = lambda path, number: "403"
    assert _code(f"{server.url}/cells.ome.zarr") == "stores.denied"
    assert _code("http://127.0.0.1:1/cells.zarr") == "stores.failed"


def test_a_web_server_lists_no_images(server) -> None:
    (path,) = gather_images([f"{server.url}/sharded.zarr"])
    assert str(path) == f"{server.url}/sharded.zarr"
    with pytest.raises(UserError) as caught:
        list_images(f"{server.url}/missing.zarr", "KEY")
    assert caught.value.code == "stores.missing"
    assert caught.value.message.startswith("KEY: ")
    with pytest.raises(UserError) as caught:
        list(location(server.url).iterdir())
    assert caught.value.code == "stores.no_listing"
    with pytest.raises(UserError) as caught:
        list_images(f"{server.url}/plate", "KEY")
    assert "web server" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["plate", "plate/a.tif", "cells.ome.zarr"])
def test_a_data_set_on_a_web_server_is_refused_without_a_request(name: str) -> None:
    """Neither the folder of the file nor an image there would be a data set that can be read."""
    with pytest.raises(UserError) as caught:
        inspect_dataset(f"http://127.0.0.1:1/{name}")  # nothing answers there
    assert caught.value.code == "stores.no_listing"
    assert "copy the data set" in (caught.value.hint or "")


def test_urls_are_paths() -> None:
    path = user_path("s3://bucket/plate/cells.ome.zarr/", "--output")
    assert is_remote(path)
    assert (str(path / "0"), path.name) == ("s3://bucket/plate/cells.ome.zarr/0", "cells.ome.zarr")
    assert str(path.parent) == "s3://bucket/plate"
    # `Path` removes one of the slashes
    assert user_path(Path("s3://bucket/plate/cells.ome.zarr"), "--output") == path
    assert pickle.loads(pickle.dumps(path)) == copy.deepcopy(path) == path
    assert str(location("HTTPS://host:8080/a.zarr")) == "https://host:8080/a.zarr"


@pytest.mark.parametrize("text", ["C:/images/a.zarr", "C:\\images\\a.zarr", "a/s3:/b", "s3:a"])
def test_paths_are_not_urls(text: str) -> None:
    assert not isinstance(location(text), RemotePath)


def test_urls_where_only_files_are_possible(tmp_path: Path) -> None:
    path = location("s3://bucket/config.yaml")
    for use in (open, os.stat, Path.stat, read_yaml, Path.open, Path.mkdir):
        with pytest.raises(UserError) as caught:
            use(path)
        assert caught.value.code == "paths.remote"
    for kind in ("file", "output file", "output folder"):
        with pytest.raises(UserError) as caught:
            user_path("s3://bucket/config.yaml", "--config", kind)
        assert caught.value.code == "paths.remote"
        assert ("download" in caught.value.hint) == (kind == "file")
    with pytest.raises(UserError) as caught:
        user_path("gs://bucket/a.zarr", "IMAGES")
    assert caught.value.code == "paths.scheme"


@pytest.mark.parametrize("text", ["s3://", "S3:///bucket", "https://"])
def test_a_url_without_a_host_is_not_a_folder_of_this_computer(text: str) -> None:
    with pytest.raises(UserError) as caught:
        user_path(text, "--output", "output")
    assert caught.value.code == "paths.scheme"


def test_urls_keep_their_slashes_on_windows() -> None:
    assert str(location(PureWindowsPath("s3://bucket/plate/a.zarr"))) == "s3://bucket/plate/a.zarr"
    assert not is_remote(location(PureWindowsPath("C:/images/a.zarr")))


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cret@host/a.zarr",
        "https://s3cret@host/a.zarr",
        "https://host/a.zarr?X-Amz-Signature=s3cret",
    ],
)
def test_urls_with_secrets_are_refused_without_printing_them(url: str) -> None:
    with pytest.raises(UserError) as caught:
        user_path(url, "IMAGES")
    assert caught.value.code == "paths.secret"
    assert "s3cret" not in str(caught.value)
    assert "host/a.zarr" in str(caught.value)


class Refusing(StoreServer):
    """Server that answers each request with an error of S3 that contains a key."""

    status, name = 400, ""

    def answer(self, request: object) -> tuple[int, dict[str, str], bytes]:
        content = f"<Error><Code>{self.name}</Code><Token-0>s3cret</Token-0></Error>"
        return self.status, {}, content.encode()


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "ExpiredToken", "stores.credentials"),
        (403, "InvalidAccessKeyId", "stores.credentials"),
        (403, "AccessDenied", "stores.denied"),
        (400, "InvalidRequest", "stores.failed"),
    ],
)
def test_errors_name_wrong_credentials_and_do_not_print_them(
    status: int, name: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{variable}", "s3cret")
    with serving(Refusing()) as server:
        server.status, server.name = status, name
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(UserError) as caught:
            read_image("s3://bucket/a.zarr", 2)
    assert caught.value.code == code
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "s3.example.org", "http://", "http://a:b", "http://a b"]
)
def test_a_server_that_is_not_a_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(UserError) as caught:
        read_image("s3://bucket/a.zarr", 2)
    assert caught.value.code == "stores.option"
    assert url in caught.value.message


def test_options_come_from_the_environment_and_the_files_of_aws(monkeypatch, tmp_path) -> None:
    assert object_stores.s3_options() == {"skip_signature": True}
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SKIP_SIGNATURE", "false")  # the credentials of the machine
        assert object_stores.s3_options() == {}
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile lab]\nregion = us-west-2\n"
        "endpoint_url = https://lab\n"
    )
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B%\n"
        "[lab]\naws_access_key_id = C\naws_secret_access_key = D\naws_session_token = E\n"
    )
    assert object_stores.s3_options() == {
        "access_key_id": "A", "secret_access_key": "B%", "region": "eu-west-1",
    }  # fmt: skip
    monkeypatch.setenv("AWS_PROFILE", "lab")
    lab = {
        "access_key_id": "C", "secret_access_key": "D", "session_token": "E",
        "region": "us-west-2", "endpoint": "https://lab",
    }  # fmt: skip
    assert object_stores.s3_options() == lab
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "F")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "G")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert object_stores.s3_options() == {
        "access_key_id": "F", "secret_access_key": "G", "region": "eu-north-1",
        "endpoint": "https://lab",
    }  # fmt: skip
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert object_stores.s3_options() == {
        "region": "eu-north-1", "endpoint": "https://lab", "skip_signature": True,
    }  # fmt: skip


@pytest.mark.parametrize("seconds", ["no", "0", "-1", "nan"])
def test_a_wrong_timeout(monkeypatch, seconds: str) -> None:
    monkeypatch.setenv(store_errors.TIMEOUT_VARIABLE, seconds)
    with pytest.raises(UserError) as caught:
        object_stores.open_store("s3://bucket")
    assert caught.value.code == "stores.option"


def _code_in_child(queue) -> None:
    try:
        object_stores.open_store("s3://bucket")
        queue.put("")
    except UserError as error:
        queue.put(error.code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_gets_an_error_instead_of_waiting_forever() -> None:
    object_stores.open_store("s3://bucket")
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_code_in_child, args=(queue,))
    child.start()
    assert queue.get() == "stores.forked"
    child.join()


@pytest.fixture(scope="module")
def s3_port(images: Path) -> Iterator[int]:
    """Port of an S3 server with the images in a bucket."""
    with serving_s3("images") as (port, store):
        for path in images.rglob("*"):
            if path.is_file():
                obstore.put(store, path.relative_to(images).as_posix(), path)
        yield port


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    """Server that can fail in front of the S3 server."""
    with failing_s3(s3_port, monkeypatch) as running:
        yield running


def test_an_image_of_s3_equals_the_local_image(images, s3) -> None:
    for name in ("cells.ome.zarr", "sharded.zarr"):
        np.testing.assert_array_equal(
            read_image(f"s3://images/{name}", 2).array, read_image(images / name, 2).array
        )
    labels = read_labels("s3://images/cells.ome.zarr", 2)
    np.testing.assert_array_equal(labels.array, read_labels(images / "cells.ome.zarr", 2).array)


def test_s3_lists_images(s3) -> None:
    listed = list_images("s3://images", "KEY")
    assert [path.name for path in listed] == ["cells.ome.zarr", "sharded.zarr"]


@pytest.mark.parametrize("fault", ["503", "cut"])
def test_s3_requests_are_repeated(images, s3, fault: str) -> None:
    s3.fault = every(4, fault)
    remote = read_image("s3://images/cells.ome.zarr", 2)
    np.testing.assert_array_equal(remote.array, read_image(images / "cells.ome.zarr", 2).array)


def test_the_stamp_of_an_image_changes_with_a_chunk(s3, s3_port: int) -> None:
    path = location("s3://images/cells.ome.zarr")
    before = change_stamp(path)
    assert change_stamp(path) == before
    store = object_stores.open_store(str(path))
    chunk = obstore.get(store, "0/c/0/0").bytes()
    obstore.put(store, "0/c/0/0", bytes(chunk) + b"x")
    try:
        assert change_stamp(path)[0] == before[0] + 1
    finally:
        obstore.put(store, "0/c/0/0", bytes(chunk))


def test_check_of_a_data_set_in_s3_equals_that_of_local_files(s3, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store = object_stores.open_store("s3://images")
    for part, kind in (("x", "image"), ("y", "labels")):
        for name in ("a.zarr", "b.zarr"):
            path = tmp_path / "set" / "train" / part / name
            array = BlockArray.create(path, (64, 64), np.uint8, ndim=2, kind=kind)
            for box in array.blocks():
                array.write(box, rng.integers(1, 9, (64, 64), np.uint8))
            array.finish()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            obstore.put(store, file.relative_to(tmp_path).as_posix(), file)
    local, remote = inspect_dataset(tmp_path / "set"), inspect_dataset("s3://images/set")
    assert [(finding.kind, finding.file.name) for finding in remote.findings] == [
        (finding.kind, finding.file.name) for finding in local.findings
    ]
    assert [part.name for part in remote.parts] == [part.name for part in local.parts] == ["train"]


def test_an_s3_bucket_that_refuses_lists(images, s3) -> None:
    s3.fault = lambda path, number: "403" if "list-type" in path else ""
    remote = read_image("s3://images/cells.ome.zarr", 2)
    np.testing.assert_array_equal(remote.array, read_image(images / "cells.ome.zarr", 2).array)


@pytest.mark.parametrize("refused", ["", "zarr.json", "/0/zarr.json", "/c/"])
def test_an_s3_bucket_that_refuses_to_read_what_it_lists(s3, refused: str) -> None:
    s3.fault = lambda path, number: (
        "403" if "list-type" not in path and refused in path.partition("?")[0] else ""
    )
    assert _code("s3://images/cells.ome.zarr") == "stores.denied"


def test_errors_of_s3(s3) -> None:
    assert _code("s3://images/missing.zarr") == "stores.missing"
    assert _code("s3://no-such-bucket/missing.zarr") == "stores.missing"
    s3.fault = lambda path, number: "403"
    assert _code("s3://images/cells.ome.zarr") == "stores.denied"
