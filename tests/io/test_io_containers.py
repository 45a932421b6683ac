"""Containers: selection of the array, and errors of unreadable ones."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singula.errors import UserError
from singula.io.files import change_stamp
from singula.io.formats import zarr
from singula.io.formats.containers import array_places
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image, open_labels
from singula.io.list_images import list_images
from singula.io.pairing import check_pairs, pair_files
from singula.io.read import read_header, read_image, read_labels
from singula.util.format import install_command

_SPEC = importlib.util.spec_from_file_location(
    "containers", Path(__file__).with_name("containers.py")
)
made: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 999, (6, 20, 30)).astype(np.uint16)
IDS = RNG.integers(0, 9, (6, 20, 30)).astype(np.uint32)
WRITERS = {".zarr": made.write_zarr, ".h5": made.write_hdf5, ".n5": made.write_n5}


@pytest.fixture(params=list(WRITERS))
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write one file with raw images and labels."""
    path = tmp_path / f"cells{request.param}"
    for name, array in (("volumes/raw", RAW), ("volumes/labels/neuron_ids", IDS)):
        WRITERS[request.param](path, array, name)
    return path


def test_images_and_labels_are_distinguished_by_name(both: Path) -> None:
    np.testing.assert_array_equal(read_image(both, 3).array[..., 0], RAW)
    np.testing.assert_array_equal(read_labels(both, 3).array[..., 0], IDS)
    whole = (slice(None),) * 3
    np.testing.assert_array_equal(open_image(both, 3).read(whole)[..., 0], RAW)
    np.testing.assert_array_equal(open_labels(both, 3).read(whole)[..., 0], IDS)


@pytest.mark.parametrize("inside", ["volumes/raw", "/volumes/raw/", "volumes.raw"])
def test_an_array_is_named_with_slashes_or_dots(both: Path, inside: str) -> None:
    found = read_image(both, 3, arrays=ArrayPlace(inside)).array
    np.testing.assert_array_equal(found[..., 0], RAW)
    group = read_labels(both, 3, arrays=ArrayPlace("volumes/labels")).array
    np.testing.assert_array_equal(group[..., 0], IDS)


@pytest.mark.parametrize("inside", ["volumes/row", "../cells", "volumes/raw/0"])
def test_a_missing_array_is_named_with_the_existing_ones(both: Path, inside: str) -> None:
    with pytest.raises(UserError) as caught:
        read_image(both, 3, arrays=ArrayPlace(inside))
    assert repr(inside) in caught.value.message
    assert "volumes/raw (6, 20, 30) uint16" in caught.value.message
    assert "RAW_PATH" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_several_arrays_must_be_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for name in ("one", "two"):
        WRITERS[suffix](path, RAW, name)
    for read in (read_image, read_labels):
        with pytest.raises(UserError, match=r"holds 2 arrays.*one \(6, 20, 30\).*two") as caught:
            read(path, 3)
        assert "RAW_PATH" in str(caught.value.hint)
    assert read_image(path, 3, arrays=ArrayPlace("two")).spatial_shape == (6, 20, 30)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_the_first_level_of_a_pyramid_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for number in range(3):
        WRITERS[suffix](
            path, np.ascontiguousarray(RAW[:, :: 2**number, :: 2**number]), f"cells/s{number}"
        )
    np.testing.assert_array_equal(read_image(path, 3).array[..., 0], RAW)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_file_without_pixels_is_reported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, np.arange(9, dtype=np.uint16), "table")
    with pytest.raises(UserError, match=r"no array of pixels: table \(9,\)"):
        read_image(path, 3)


def test_wrong_axes_are_reported(both: Path) -> None:
    for axes, words in (
        ("ZYXC", "has 3 axes.*names 4: ZYXC"),
        ("TYX", "has 6 time points"),
        ("CYX", "no z axis"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            read_image(both, 3, arrays=ArrayPlace("volumes/raw", axes))
        assert "AXES_ORDER" in caught.value.message + str(caught.value.hint) or axes == "ZYXC"
    turned = read_image(both, 3, arrays=ArrayPlace("volumes/raw", "XYZ")).array
    np.testing.assert_array_equal(turned[..., 0], RAW.T)


def test_time_points_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = made.write_zarr(tmp_path / "a.zarr", np.zeros((2, 6, 1, 20, 30), np.uint8))
    with pytest.raises(UserError, match="has 2 time points") as caught:
        read_image(path, 3)
    assert "one file per time point" in str(caught.value.hint)
    assert "INPUT_IMG_AXES_ORDER" in str(caught.value.hint)
    assert "Fiji" not in str(caught.value.hint)


def test_configured_axes_precede_those_of_the_file(tmp_path: Path) -> None:
    path = made.write_ome(tmp_path / "a.zarr", RAW, "zyx", [1, 1, 1])
    assert read_header(path).axes == "ZYX"
    found = read_image(path, 3, arrays=ArrayPlace(axes="YZX")).array
    np.testing.assert_array_equal(found[..., 0], RAW.transpose(1, 0, 2))


def test_default_keys_use_the_axes_of_the_file() -> None:
    places = array_places("", "ids", "TZCYX", "ZYX", together=True)
    assert places.image == ArrayPlace("", None)
    assert places.labels == ArrayPlace("ids", "ZYX")
    assert places.label_variant == "array ids, axes ZYX"
    assert array_places("", "", "TZCYX", "TZCYX", together=False).label_variant == ""


def chunk_files(path: Path) -> list[Path]:
    return [p for p in path.rglob("*") if p.is_file() and p.suffix != ".json" and p.name[0] != "."]


@pytest.mark.parametrize("suffix", [".zarr", ".n5"])
def test_a_corrupt_chunk_is_reported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, RAW)
    for file in chunk_files(path):
        file.write_bytes(file.read_bytes()[:20] + b"rubbish")
    lazy = open_image(path, 3)
    with pytest.raises(UserError, match=r"a\.(zarr|n5): cannot be read as") as caught:
        lazy.read((slice(0, 2),) * 3)
    assert "copy or export it again" in str(caught.value.hint)
    with pytest.raises(UserError, match="cannot be read as"):
        read_image(path, 3)


def test_a_damaged_hdf5_is_reported(tmp_path: Path) -> None:
    path = made.write_hdf5(tmp_path / "a.h5", RAW, chunks=(3, 20, 30), compression="gzip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.h5: cannot be read as HDF5"):
        read_image(path, 3)
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(UserError, match=r"a\.h5: cannot be read as HDF5"):
        open_image(path, 3)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="the file is empty"):
        open_image(path, 3)


@pytest.mark.parametrize("suffix", [".zarr", ".n5"])
def test_a_missing_folder_is_reported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(UserError, match="cannot be read as"):
        read_image(path, 3)
    path.mkdir()
    with pytest.raises(UserError, match=r"cannot be read as (Zarr|N5) \("):
        read_image(path, 3)
    other = tmp_path / f"b{suffix}"
    other.write_text("a file")
    with pytest.raises(UserError, match="this is a file"):
        read_image(other, 3)


@pytest.mark.parametrize(
    "said",
    [
        {
            "dimensions": [3, 4],
            "dataType": "uint8",
            "blockSize": [3, 4],
            "compression": {"type": "x"},
        },
        {"dimensions": [3, 4], "dataType": "uint8"},
        {"dimensions": [3, 4], "dataType": "string", "blockSize": [3, 4]},
    ],
)
def test_unknown_n5_features_are_reported(tmp_path: Path, said: dict[str, Any]) -> None:
    (tmp_path / "a.n5").mkdir()
    (tmp_path / "a.n5" / "attributes.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"a\.n5: cannot be read as N5"):
        read_image(tmp_path / "a.n5", 2)


def test_invalid_ome_metadata_are_reported(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for entry, words in (
        ({"axes": [{"name": "y"}, {"name": "x"}]}, "lack 'datasets'"),
        ({"axes": [{"name": "y"}], "datasets": [{"path": "7"}]}, "name an array '7'"),
    ):
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
        with pytest.raises(UserError, match=words):
            read_image(tmp_path / "a.zarr", 2)


@pytest.mark.parametrize(("suffix", "library"), [(".zarr", "zarr"), (".h5", "h5py")])
def test_a_missing_library_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, library: str
) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, RAW)
    monkeypatch.setitem(sys.modules, library, None)
    for read in (read_image, open_image):
        with pytest.raises(UserError, match=f"the library {library} is needed") as caught:
            read(path, 3)
        assert caught.value.hint == install_command()


def test_an_unknown_compression_of_hdf5_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    path = made.write_hdf5(tmp_path / "a.h5", RAW, chunks=(3, 20, 30), compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(UserError, match=r"compressed with filter 32000 \(lzf\)") as caught:
        read_image(path, 3)
    assert caught.value.code == "io.compression_missing"
    assert "pip install hdf5plugin" in str(caught.value.hint)


def test_labels_with_wrong_values_are_reported_when_their_box_is_read(tmp_path: Path) -> None:
    ids = np.zeros((4, 20, 30), np.float32)
    ids[3, 5, 5] = 0.5
    path = made.write_zarr(tmp_path / "a.zarr", ids, chunks=(1, 20, 30))
    lazy = open_labels(path, 3)
    assert not lazy.read((slice(0, 3), slice(None), slice(None))).any()
    with pytest.raises(UserError, match=r"with a fraction, such as 0\.5"):
        lazy.read((slice(3, 4), slice(None), slice(None)))
    signed = made.write_zarr(tmp_path / "b.zarr", np.full((20, 30), -3, np.int16))
    with pytest.raises(UserError, match="label ids down to -3"):
        open_labels(signed, 2).read((slice(None),) * 2)
    large = made.write_zarr(tmp_path / "c.zarr", np.full((20, 30), 2**33, np.uint64))
    with pytest.raises(UserError, match="label ids up to 8589934592"):
        open_labels(large, 2).read((slice(None),) * 2)


def test_a_file_with_a_changed_shape_is_reported(tmp_path: Path) -> None:
    import pickle
    import shutil

    path = made.write_zarr(tmp_path / "a.zarr", RAW)
    sent = pickle.dumps(open_image(path, 3))
    shutil.rmtree(path)
    made.write_zarr(path, RAW[:3])
    with pytest.raises(UserError, match="was changed since") as caught:
        pickle.loads(sent).read((slice(None),) * 3)
    assert caught.value.code == "io.file_changed"


def test_folders_count_as_files(tmp_path: Path) -> None:
    for part, array in (("x", RAW), ("y", IDS)):
        (tmp_path / part).mkdir()
        made.write_zarr(tmp_path / part / "a.ome.zarr", array)
        made.write_hdf5(tmp_path / part / "b.hdf5", array)
        made.write_n5(tmp_path / part / "c.n5", array)
        (tmp_path / part / "d.zip").mkdir()
        (tmp_path / part / ".hidden.zarr").mkdir()
    keys = ("IMAGES", "LABELS")
    pairs = pair_files(tmp_path / "x", tmp_path / "y", *keys)
    assert [pair.name for pair in pairs] == ["a", "b", "c"]
    assert check_pairs(pairs, 3, 1) == [(6, 20, 30)] * 3
    assert list_images(tmp_path / "x" / "a.ome.zarr", "KEY") == [tmp_path / "x" / "a.ome.zarr"]


def test_one_file_contains_image_and_labels(both: Path) -> None:
    places = array_places("", "", "TZCYX", "TZCYX", together=True)
    (pair,) = pair_files(both.parent, "nowhere", "IMAGES", "LABELS", places)
    assert pair.label == pair.image == both
    assert check_pairs([pair], 3, 1) == [(6, 20, 30)]
    wrong = array_places("volumes/raw", "volumes/gone", "TZCYX", "TZCYX", together=True)
    pairs = pair_files(both.parent, "nowhere", "IMAGES", "LABELS", wrong)
    with pytest.raises(UserError, match="volumes/gone"):
        check_pairs(pairs, 3, 1)


def test_files_that_cannot_contain_both_are_refused(tmp_path: Path) -> None:
    from singula.io.write import write_tiff

    write_tiff(tmp_path / "x" / "a.tif", RAW, "ZYX")
    places = array_places("", "", "TZCYX", "TZCYX", together=True)
    with pytest.raises(UserError, match=r"IMAGES: got a\.tif, expected Zarr, HDF5 or N5"):
        pair_files(tmp_path / "x", None, "IMAGES", "LABELS", places)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_an_image_is_not_used_as_its_labels(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](tmp_path / f"a{suffix}", IDS, "data")
    for inside in ("", "data"):
        places = array_places(inside, "", "TZCYX", "TZCYX", together=True)
        pairs = pair_files(tmp_path, None, "IMAGES", "LABELS", places)
        with pytest.raises(UserError, match="got the same array"):
            check_pairs(pairs, 3, 1)


def test_a_changed_chunk_changes_the_stamp(tmp_path: Path) -> None:
    path = made.write_zarr(tmp_path / "a.zarr", RAW, chunks=(3, 20, 30))
    before = change_stamp(path)
    assert change_stamp(path) == before
    file = chunk_files(path)[0]
    info = file.stat()
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns + 10**10))
    assert change_stamp(path) != before


def test_threads_that_read_keep_the_filters_of_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made.write_zarr(tmp_path / "a.zarr", np.zeros((20, 30), np.uint8))
    other_ends, find_folder, before = threading.Event(), zarr._folder, list(warnings.filters)

    def delayed(container: zarr._Container) -> Path:
        """Let the second thread start before the first ends, and end after it."""
        if threading.current_thread() is threading.main_thread():
            thread.start()
            second_reads.wait(0.3)
        else:
            second_reads.set()
            other_ends.wait()
        return find_folder(container)

    second_reads = threading.Event()
    thread = threading.Thread(target=read_header, args=(path,))
    monkeypatch.setattr(zarr, "_folder", delayed)
    try:
        read_header(path)
    finally:
        other_ends.set()
        thread.join()
    assert warnings.filters == before
