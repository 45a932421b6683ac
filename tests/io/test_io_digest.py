"""Digests of images change with their content only."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from singula.io import digest as module
from singula.io.digest import digest_again, digest_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "x"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        tifffile.imwrite(folder / f"{name}.tif", rng.integers(0, 255, (64, 64), np.uint8))
    data = rng.integers(0, 255, (8, 8), np.uint8)
    zarr.create_array(store=folder / "c.zarr", data=data, chunks=(4, 4))
    (folder / "notes.txt").write_text("not an image")
    return folder


def flip_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_one_bit_changes_the_digest_of_its_image_only(folder: Path, tmp_path: Path) -> None:
    before = digest_images(folder, "KEY")
    assert list(before) == ["a.tif", "b.tif", "c.zarr"]
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert digest_images(copy, "KEY") == before
    flip_bit(folder / "b.tif", -1)
    after = digest_images(folder, "KEY")
    assert [name for name in before if before[name] != after[name]] == ["b.tif"]
    chunk = max(path for path in (folder / "c.zarr").rglob("*") if path.is_file())
    flip_bit(chunk, -1)
    assert digest_images(folder, "KEY")["c.zarr"] != before["c.zarr"]


def test_large_folders_are_sampled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLES", 3)
    monkeypatch.setattr(module, "_SAMPLE", 16)
    path = folder / "a.tif"
    before = digest_images(folder, "KEY", max_whole=100)
    assert all(digest.startswith("sampled:") for digest in before.values())
    assert digest_again(path, before["a.tif"]) == before["a.tif"]
    flip_bit(path, 20)  # between the first and the second sample
    assert digest_again(path, before["a.tif"]) == before["a.tif"]
    flip_bit(path, -1)
    assert digest_again(path, before["a.tif"]) != before["a.tif"]
    flip_bit(path, -1)
    path.write_bytes(path.read_bytes() + b"0")  # the size counts, too
    assert digest_again(path, before["a.tif"]) != before["a.tif"]
