"""Images with one file per channel."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from example_data import ExampleData, bytes_of
from hypothesis import assume, given
from hypothesis import strategies as st

from singula.dataset.checks import inspect_dataset, write_fixed
from singula.dataset.checks.channels import ChannelFiles, channel_files, more_channel_files
from singula.dataset.facts import survey_dataset
from singula.io.read import read_image


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
        # One of several is missing, and one has no label.
        ([f"{n}_{c}.tif" for c in "BA" for n in "abcd"][1:], ["a.tif", "b.tif", "c.tif"],
         ["_A", "_B"]),
        # Each label has an image of its name.
        (["a.tif", "a_1.tif", "a_2.tif", "b.tif", "b_1.tif", "b_2.tif"], ["a.tif", "b.tif"], None),
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
        assert found == ChannelFiles()
        return
    assert found.endings == tuple(endings)
    assert (found.extra, found.others) == ((), ())
    stems = {Path(label).stem.removesuffix("_mask") for label in labels}
    there = {Path(image).stem for image in images}
    whole = {stem for stem in stems if all(stem + end in there for end in endings)}
    assert {s: [p.stem for p in files] for s, files in found.complete.items() if s in stems} == {
        stem: [stem + end for end in endings] for stem in whole
    }
    assert {stem: found.missing(stem) for stem in found.partial} == {
        stem: [end for end in endings if stem + end not in there] for stem in stems - whole
    }


def test_images_without_labels_have_the_endings_of_others() -> None:
    known = ("_DAPI", "_GFP")
    more = paths("c_2_DAPI.tif", "c_2_GFP.tif", "d_DAPI.tif", "d_GFP.tif")
    assert list(more_channel_files(more, known).complete) == ["c_2", "d"]
    one_less = more_channel_files(more[:3], known)
    assert list(one_less.complete) == ["c_2"]
    assert one_less.missing("d") == ["_GFP"]
    assert more_channel_files(paths("c_1.tif", "c_2.tif"), known) == ChannelFiles()


def test_other_files_are_distinguished_from_channels() -> None:
    """A third channel, an image next to its channels, complete images, an image without labels."""
    names = ("a", "b", "c", "a_5", "w")
    images = [f"{name}_{end}.tif" for name in names[:3] for end in ("G", "R")]
    images += ["a_B.tif", "b.tif", "a_5_img.tif", "w.tif", "z.tif", "n_G.tif", "n_R.tif"]
    apart, _ = channel_files(paths(*images), paths(*(f"{name}.tif" for name in names)))
    assert apart.endings == ("_G", "_R")
    assert list(apart.complete) == ["a", "b", "c", "n"]
    assert apart.partial == {}
    assert apart.extra == tuple(paths("a_B.tif", "b.tif"))
    assert apart.others == tuple(paths("a_5_img.tif", "w.tif", "z.tif"))


@given(
    names=st.lists(
        st.sampled_from(["1", "1-2", "10", "a", "a_0", "a_0_1"]), min_size=4, unique=True
    ),
    endings=st.permutations(["_0", "_1", "-w1", " GFP"]).map(lambda e: e[:3]),
    missing=st.integers(0, 17),
    shuffled=st.randoms(use_true_random=False),
)
def test_a_missing_file_excludes_one_image(
    names: list[str], endings: list[str], missing: int, shuffled: Random
) -> None:
    images = paths(*(f"{name}{ending}.tif" for name in names for ending in endings))
    # A name that is also the file of another image says two things.
    assume(len(set(images)) == len(images) and not set(names) & {path.stem for path in images})
    lost = images.pop(missing % len(images))
    labels = paths(*(f"{name}.tif" for name in names))
    apart, _ = channel_files(images, labels)
    assert sorted(apart.endings) == sorted(endings)
    assert len(apart.complete) == len(names) - 1
    ((name, _files),) = apart.partial.items()
    assert [name + ending for ending in apart.missing(name)] == [lost.stem]
    again = list(images)
    shuffled.shuffle(again)
    assert channel_files(again, labels)[0].complete == apart.complete


@pytest.mark.parametrize("part", ["train", "test", "unlabeled test"])
def test_only_the_image_of_a_missing_file_is_left_out(tmp_path: Path, part: str) -> None:
    data = ExampleData(tmp_path / "data")
    part_apart(data)
    if part == "unlabeled test":
        shutil.rmtree(data.folder / "test" / "y")
    part = part.split()[-1]
    data.path(part, "x", "im1_0001.tif").unlink()
    found = inspect_dataset(data.folder)
    assert [(f.kind, f.part, f.file.name, f.fixable) for f in found.findings] == [
        *(("apart", "train", "x", True),) * (part == "test"),
        ("apart", part, "x", True),
        ("apart", part, "im1_0000.tif", False),
        *(("apart", "test", "x", True),) * (part == "train"),
    ]
    (lost,) = (f for f in found.problems if not f.fixable)
    assert lost.text == "channel 0001 of the image im1 is missing"
    report = write_fixed(found, tmp_path / "fixed")
    assert [path.name for path in report.left_out] == ["im1_0000.tif"]
    assert report.files == 4
    after = inspect_dataset(tmp_path / "fixed")
    assert after.findings == ()
    for one in after.parts:
        assert {read_image(pair.image, 2).array.shape[-1] for pair in one.pairs} == {2}


def test_an_image_without_labels_does_not_affect_channels_of_others(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data")
    part_apart(data)
    data.path("train", "y", "im2.tif").unlink()
    data.put("train", "x", "im0_0002.tif", data.raw("train", "im0_0000.tif"))
    found = inspect_dataset(data.folder)
    assert [(f.kind, f.file.name) for f in found.problems if f.part == "train"] == [
        ("unpaired", "im2_0000.tif"),
        ("apart", "x"),
        ("apart", "im0_0002.tif"),
    ]
    report = write_fixed(found, tmp_path / "fixed")
    assert sorted(path.name for path in report.left_out) == ["im0_0002.tif", "im2_0000.tif"]
    assert sorted(path.name for path in (tmp_path / "fixed" / "train" / "x").iterdir()) == [
        "im0.tif",
        "im1.tif",
    ]
    assert survey_dataset(tmp_path / "fixed").channels == 2


def part_apart(data: ExampleData) -> dict[tuple[str, str], np.ndarray]:
    """Split each image into two files, and return the contents of the first."""
    raws = {}
    for part in ("train", "test"):
        for path in sorted((data.folder / part / "x").iterdir()):
            raw = raws[part, path.stem] = data.raw(part, path.name)
            path.unlink()
            for number, pixels in enumerate((raw, 2000 + 3 * raw.astype(np.uint16))):
                data.put(part, "x", f"{path.stem}_000{number}.tif", pixels)
    return raws


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_corrected_copy_has_all_channels_in_one_file(tmp_path: Path, ndim: int) -> None:
    data = ExampleData(tmp_path / "data", ndim)
    raws = part_apart(data)
    shutil.rmtree(data.folder / "test" / "y")
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


def test_an_image_whose_channels_differ_in_size_is_left_out(
    tmp_path: Path, messages: list[str]
) -> None:
    data = ExampleData(tmp_path / "data")
    for path in sorted((data.folder / "train" / "x").iterdir()):
        raw = data.raw("train", path.name)
        path.unlink()
        data.put("train", "x", f"{path.stem}_0000.tif", raw)
        data.put("train", "x", f"{path.stem}_0001.tif", raw[: -1 if path.stem == "im1" else None])
    report = write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    (why,) = report.left_out.values()
    assert "im1_0001.tif: got shape (99, 100), expected (100, 100) as of im1_0000.tif" in why
    assert any("left out" in line and "im1_0000" in line for line in messages)
    assert report.files == 4
    assert not list((tmp_path / "fixed").rglob("im1*0*"))
    assert not (tmp_path / "fixed" / "train" / "y" / "im1.tif").exists()
