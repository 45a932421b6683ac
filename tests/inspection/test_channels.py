"""Images whose channels are a file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_data import MadeData, bytes_of

from singula.inspection import inspect_dataset, write_fixed
from singula.inspection.channels import channel_files, more_channel_files
from singula.io.read import read_image
from singula.survey import survey_dataset


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    ("images", "labels", "endings"),
    [
        (["a_0000.tif", "a_0001.tif", "b_0000.tif", "b_0001.tif"], ["a.tif", "b.tif"],
         ["_0000", "_0001"]),
        (["a_DAPI.tif", "a_GFP.tif"], ["a_mask.png"], ["_DAPI", "_GFP"]),
        # Names within names: the longest is meant.
        (["1-w1.tif", "1-w2.tif", "1-2-w1.tif", "1-2-w2.tif"], ["1.tif", "1-2.tif"],
         ["-w1", "-w2"]),
        (["a_0000.tif", "a_0001.tif", "b_0000.tif"], ["a.tif", "b.tif"], None),  # one is missing
        (["a_0000.tif", "a_0001.tif", "c.tif"], ["a.tif"], None),
        (["a_0000.tif", "b_0000.tif"], ["a.tif", "b.tif"], None),  # one channel
        (["a1.tif", "a2.tif"], ["a.tif"], None),  # nothing parts name and channel
    ],
)  # fmt: skip
def test_files_of_one_image_are_found_by_its_labels(
    images: list[str], labels: list[str], endings: list[str] | None
) -> None:
    found, label_of = channel_files(paths(*images), paths(*labels))
    assert sorted(label_of.values()) == (sorted(paths(*labels)) if endings else [])
    if endings is None:
        assert found == {}
        return
    stems = {Path(label).stem.removesuffix("_mask") for label in labels}
    assert {s: [p.stem for p in files] for s, files in found.items()} == {
        stem: [stem + end for end in endings] for stem in stems
    }


def test_images_without_labels_have_the_endings_of_others() -> None:
    known, _ = channel_files(paths("a_DAPI.tif", "a_GFP.tif"), paths("a.tif"))
    more = paths("c_2_DAPI.tif", "c_2_GFP.tif", "d_DAPI.tif", "d_GFP.tif")
    assert list(more_channel_files(more, known)) == ["c_2", "d"]
    assert more_channel_files(more[:3], known) == {}
    assert more_channel_files(paths("c_1.tif", "c_2.tif"), known) == {}


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_copy_has_the_channels_in_one_file(tmp_path: Path, ndim: int) -> None:
    data = MadeData(tmp_path / "data", ndim)
    raws = {}
    for part in ("train", "test"):
        for path in sorted((data.folder / part / "x").iterdir()):
            raw = raws[part, path.stem] = data.raw(part, path.name)
            path.unlink()
            for number, pixels in enumerate((raw, 2000 + 3 * raw.astype(np.uint16))):
                data.put(part, "x", f"{path.stem}_000{number}.tif", pixels)
    for path in (data.folder / "test" / "y").iterdir():
        path.unlink()
    (data.folder / "test" / "y").rmdir()
    before = bytes_of(data.folder)
    found = inspect_dataset(data.folder)
    assert [(one.kind, one.part, one.fixable) for one in found.findings] == [
        ("apart", "train", True),
        ("apart", "test", True),
    ]
    report = write_fixed(found, tmp_path / "fixed")
    assert (report.files, report.left_out) == (5, {})
    assert bytes_of(data.folder) == before
    for (part, name), raw in raws.items():
        image = read_image(tmp_path / "fixed" / part / "x" / f"{name}.tif", ndim)
        np.testing.assert_array_equal(image.array[..., 0], raw)
        np.testing.assert_array_equal(image.array[..., 1], 2000 + 3 * raw.astype(np.uint16))
        assert image.spacing == pytest.approx(data.spacing)
    assert inspect_dataset(tmp_path / "fixed").findings == ()
    assert survey_dataset(tmp_path / "fixed").channels == 2


def test_an_image_whose_channels_differ_in_size_is_left_out(tmp_path: Path) -> None:
    data = MadeData(tmp_path / "data")
    for path in sorted((data.folder / "train" / "x").iterdir()):
        raw = data.raw("train", path.name)
        path.unlink()
        data.put("train", "x", f"{path.stem}_0000.tif", raw)
        data.put("train", "x", f"{path.stem}_0001.tif", raw[: -1 if path.stem == "im1" else None])
    told: list[str] = []
    report = write_fixed(inspect_dataset(data.folder), tmp_path / "fixed", notify=told.append)
    (why,) = report.left_out.values()
    assert "im1_0001.tif: is (99, 100), im1_0000.tif (100, 100)" in why
    assert any("left out" in line and "im1_0000" in line for line in told)
    assert report.files == 4
    assert not list((tmp_path / "fixed").rglob("im1*0*"))
    assert not (tmp_path / "fixed" / "train" / "y" / "im1.tif").exists()
