"""Links without a target, pipes, sockets and files without permission are named, not skipped."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from singula.dataset.checks import describe, inspect_dataset, write_fixed
from singula.dataset.facts import find_folders
from singula.errors import UserError
from singula.inference import gather_images
from singula.io.entries import check_openable
from singula.io.lazy import open_image
from singula.io.list_images import list_images
from singula.io.pairing import check_pairs, pair_files
from singula.io.read import read_header, read_image
from singula.io.write import write_tiff

Make = Callable[[Path], object]


def dangling(path: Path) -> None:
    path.symlink_to("gone.tif")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


KINDS = [
    (dangling, "io.broken_link"),
    (loop, "io.broken_link"),
    (pipe, "io.not_a_file"),
    (socket_file, "io.not_a_file"),
]


def dataset(folder: Path) -> Path:
    for place in range(3):
        ids = np.zeros((40, 40), np.uint8)
        ids[5:15, 5:15], ids[20:30, 10 + place : 22 + place] = 1, 2
        noise = np.random.default_rng(place).integers(0, 9, ids.shape)
        write_tiff(
            folder / "train" / "x" / f"i{place}.tif",
            (100 * (ids > 0) + noise).astype(np.uint8),
            "YX",
        )
        write_tiff(folder / "train" / "y" / f"i{place}.tif", ids, "YX")
    return folder


def refused(work: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        work()
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".zarr", ".h5", ".nii.gz"])
@pytest.mark.parametrize(("make", "code"), KINDS)
def test_every_reader_names_files_that_cannot_be_opened(
    tmp_path: Path, make: Make, code: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    make(path)
    assert list_images(tmp_path, "K") == [path]
    for read in (
        lambda: read_header(path),
        lambda: read_image(path, 2),
        lambda: open_image(path, 2),
        lambda: gather_images([path]),
    ):
        error = refused(read)
        assert error.code == code
        assert str(path) in error.message


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_files_and_folders_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Root can read every file, so that the answer of the system is replaced."""
    path = tmp_path / f"a{suffix}"
    path.mkdir() if suffix == ".zarr" else path.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda given, mode: Path(given) != path)
    assert list_images(tmp_path, "K") == [path]
    assert refused(lambda: read_header(path)).code == "io.no_permission"


def test_a_folder_without_permission_for_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without execute permission can be listed, but its files cannot be opened."""
    path = tmp_path / "a.tif"
    path.write_bytes(b"x")
    plain = Path.stat

    def stat(self: Path, **options: bool) -> os.stat_result:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return plain(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert list_images(tmp_path, "K") == [path]
    assert refused(lambda: check_openable(path)).code == "io.no_permission"
    assert refused(lambda: read_header(path)).code == "io.no_permission"


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    write_tiff(tmp_path / "real.tif", np.eye(4, dtype=np.uint8), "YX")
    (tmp_path / "link.tif").symlink_to("real.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "notes.txt").symlink_to("gone")
    assert [path.name for path in list_images(tmp_path, "K")] == ["link.tif", "real.tif"]
    assert read_image(tmp_path / "link.tif", 2).array.sum() == 4


@pytest.mark.parametrize(("make", "code"), KINDS)
@pytest.mark.parametrize("sides", ["x", "y", "xy"])
def test_a_run_and_a_check_name_the_file(tmp_path: Path, make: Make, code: str, sides: str) -> None:
    train = dataset(tmp_path / "data") / "train"
    bad = [train / side / "i1.tif" for side in sides]
    for path in bad:
        path.unlink()
        make(path)
    error = refused(lambda: check_pairs(pair_files(train / "x", train / "y", "X", "Y"), 2, 1))
    assert all(str(path) in error.message for path in bad)
    found = inspect_dataset(train.parent)
    assert [(one.kind, one.file) for one in found.findings] == [("unreadable", p) for p in bad]
    assert all(f"{side}/i1.tif" in "\n".join(describe(found)) for side in sides)
    report = write_fixed(found, tmp_path / "fixed")
    assert (report.files, list(report.left_out)) == (2, [train / "x" / "i1.tif"])


def test_a_pipe_without_a_partner_is_named_as_a_pipe(tmp_path: Path) -> None:
    train = dataset(tmp_path / "data") / "train"
    pipe(train / "x" / "i9.tif")
    (one,) = inspect_dataset(train.parent).findings
    assert (one.kind, one.file.name) == ("unreadable", "i9.tif")


@pytest.mark.parametrize("name", ["train", "test", "train/y"])
def test_a_folder_that_is_a_link_without_a_target(tmp_path: Path, name: str) -> None:
    folder = dataset(tmp_path / "data") / name
    if folder.exists():
        folder.rename(tmp_path / "away")
    folder.symlink_to(tmp_path / "gone")
    error = refused(lambda: find_folders(tmp_path / "data"))
    assert error.code == "io.broken_link"
    assert str(folder) in error.message
    assert refused(lambda: list_images(folder, "DATA.TEST.PATH")).code == "io.broken_link"


def test_other_links_without_a_target_are_noted(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data")
    (folder / "older").symlink_to("gone")
    assert "older (a link" in find_folders(folder)[1][0]


def test_files_without_partners_alone_are_findings(tmp_path: Path) -> None:
    train = dataset(tmp_path / "data") / "train"
    for place, path in enumerate(sorted((train / "y").iterdir())[1:]):
        path.rename(path.with_name(f"other{place}.tif"))
    (train / "y" / "i0.tif").unlink()
    kinds = {one.kind for one in inspect_dataset(train.parent).findings}
    assert kinds == {"unpaired"}
