"""Each kind of finding is found in a data set with this mistake, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from broken_data import BREAKS, NAME, Found, X, Y, leftover, pieces
from example_data import SIDE, ExampleData, image, labels
from selection import fast_first

from singula.dataset import scan
from singula.dataset.checks import (
    KINDS,
    Finding,
    Inspection,
    InspectSettings,
    describe,
    files,
    inspect_dataset,
)
from singula.dataset.facts import Folders, Machine, survey_dataset
from singula.errors import UserError
from singula.io.write import write_json, write_tiff


def found_in(inspection: Inspection, folder: Path) -> Found:
    return {(one.kind, one.file.relative_to(folder).as_posix()) for one in inspection.findings}


def check(data: ExampleData, **known: object) -> Found:
    return found_in(inspect_dataset(data.folder, InspectSettings(**known)), data.folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("ndim", [2, 3])
def test_clean_data_have_no_findings(tmp_path: Path, ndim: int, classes: bool) -> None:
    data = ExampleData(tmp_path, ndim, classes=classes)
    patch = (13, 64, 64)[-ndim:]
    found = inspect_dataset(
        tmp_path, InspectSettings(patch=patch, channels=1, n_classes=3 if classes else None)
    )
    assert found.findings == ()
    assert found.ndim == ndim
    assert [part.objects for part in found.parts] == [16 * 3, 16 * 2]
    assert describe(found)[-1] == "nothing found: the data are fine"
    assert check(data) == set()


@pytest.mark.parametrize("ndim", fast_first([2, 3]))
@pytest.mark.parametrize("broken", BREAKS, ids=lambda f: f.__name__)
def test_each_mistake_is_found_and_nothing_else(
    tmp_path: Path, broken: Callable[[ExampleData], Found], ndim: int
) -> None:
    data = ExampleData(tmp_path, ndim)
    expected = broken(data)
    assert check(data) == expected
    found = inspect_dataset(tmp_path)
    text = "\n".join(describe(found))
    for one in found.findings:
        assert KINDS[one.kind].title in text
        assert one.text in text
        assert one.suggestion


def test_the_last_line_counts_kinds_and_files() -> None:
    found = [
        Finding("saturated", "bright", file=Path("a.tif")),
        Finding("saturated", "bright", file=Path("b.tif")),
        Finding("leftover", "a place", file=Path("b.tif")),
    ]
    assert describe(Inspection(2, (), tuple(found)))[-1] == "0 problems, 2 hints in 2 files"
    problem = Finding("unreadable", "damaged", file=Path("c.tif"), fixable=True)
    assert describe(Inspection(2, (), (*found, problem)))[-1] == (
        "1 problem in 1 file, 2 hints in 2 files; --fix FOLDER writes a copy, in which it corrects "
        "1 file"
    )


@pytest.mark.parametrize("axes", ["YXS", "ZYX"])
def test_label_pictures_in_color(tmp_path: Path, axes: str) -> None:
    data = ExampleData(tmp_path)
    ids = data.ids("train", NAME).astype(np.uint8)
    same = np.stack([ids, ids, ids], -1)
    data.put("train", "y", NAME, same, "YXS")
    found = inspect_dataset(tmp_path)
    assert [(f.kind, f.fixable, f.severity) for f in found.findings] == [
        ("label_type", True, "hint")
    ]
    same[..., 1] = np.random.default_rng(0).integers(0, 255, ids.shape)
    data.put("train", "y", NAME, same, "YXS")
    found = inspect_dataset(tmp_path)
    assert [(f.kind, f.fixable, f.severity) for f in found.findings] == [
        ("label_type", False, "problem")
    ]


def test_colors_in_planes_can_be_three_slices(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    ids = data.ids("train", NAME)
    planes = np.stack([ids, ids // 2, ids])
    path = data.path("train", "y", NAME)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    (one,) = inspect_dataset(tmp_path).findings
    assert "three z slices" in one.suggestion
    tifffile.imwrite(path, np.moveaxis(planes, 0, -1), photometric="rgb")
    (one,) = inspect_dataset(tmp_path).findings
    assert "z slices" not in one.suggestion


def test_training_data_without_any_object_are_a_problem(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    names = [path.name for path in (tmp_path / "train" / "y").iterdir()]
    for name in names:
        data.put("train", "y", name, data.ids("train", name) * 0)
    found = [one for one in inspect_dataset(tmp_path).findings if one.kind == "empty"]
    assert [one.severity for one in found] == ["problem"] * len(names)
    assert "nothing to learn" in found[0].suggestion


def test_the_same_image_with_other_labels_is_a_problem(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    data.put("train", "x", "im9.tif", data.raw("train", NAME))
    data.put("train", "y", "im9.tif", data.ids("train", NAME))
    assert [(f.kind, f.severity) for f in inspect_dataset(tmp_path).findings] == [
        ("duplicate", "hint")
    ]
    ids = data.ids("train", NAME)
    ids[ids == 3] = 1
    data.put("train", "y", "im9.tif", ids)
    found = [f for f in inspect_dataset(tmp_path).findings if f.kind == "duplicate"]
    assert [f.severity for f in found] == ["problem"]
    assert "other labels" in found[0].text


def test_labels_of_bools_are_a_mask(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    data.path("train", "y", NAME).unlink()
    np.save(data.path("train", "y", "im1.npy"), data.ids("test", "im1.tif") > 0)
    assert check(data) == {("label_type", "train/y/im1.npy"), ("semantic", "train/y/im1.npy")}


def test_labels_with_lost_values_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    data = ExampleData(tmp_path)
    ids = data.ids("train", NAME).astype(np.uint8)
    data.path("train", "y", NAME).unlink()
    Image.fromarray(ids).save(data.path("train", "y", "im1.jpg"))
    assert check(data) == {("label_type", "train/y/im1.jpg")}


def test_places_are_those_of_the_objects(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    pieces(data)
    found = inspect_dataset(tmp_path).findings[0]
    assert found.count == 1
    ids = data.ids("train", NAME)
    where = np.argwhere(ids == 7)
    assert found.where[0].id == 7
    assert found.where[0].low == tuple(where.min(axis=0))
    assert found.where[0].high == tuple(where.max(axis=0) + 1)
    leftover(data)
    found = next(f for f in inspect_dataset(tmp_path).findings if f.kind == "leftover")
    center = np.argwhere(np.roll(labels(), 1, -1) == 11).mean(axis=0)
    for low, high, middle in zip(found.where[0].low, found.where[0].high, center, strict=True):
        assert low < middle < high


def test_unlabeled_structures_are_bright_or_dark_like_the_objects(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    leftover(data)
    for dark, expected in ((False, "as bright and"), (True, "as dark and")):
        for name in ("im0.tif", "im1.tif", "im2.tif") if dark else ():
            raw = data.raw("train", name)
            data.put("train", "x", name, (raw.max() - raw).astype(raw.dtype))
        (finding,) = (f for f in inspect_dataset(tmp_path).findings if f.kind == "leftover")
        assert expected in finding.text


def test_objects_larger_than_the_patch(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    assert {kind for kind, _ in check(data, patch=(12, 64))} == {"large"}
    assert check(data, patch=(13, 64)) == set()


def test_images_smaller_than_the_patch(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    large = (SIDE + 1, 64)
    assert {kind for kind, _ in check(data, patch=large)} == {"small_image"}
    assert check(data, patch=large, reflect=True) == set()


def test_channels_of_the_configuration(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    assert {kind for kind, _ in check(data, channels=3)} == {"channels"}
    assert check(data, channels=3, gray=True) == set()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.__setitem__((slice(None), slice(0, 20), 1), 2), "several classes"),
        (lambda a: a.__setitem__((a[..., 0] == 6, 1), 0), "without a class"),
        (
            lambda a: a.__setitem__((slice(0, 3), slice(0, 3), 1), 1),
            "a class but no object",
        ),
        (lambda a: a.__setitem__((a[..., 0] == 6, 1), 5), "class 5"),
        (lambda a: a.__setitem__((slice(None), slice(0, 20), 1), 0), "partly without a class"),
    ],
)
def test_classes(tmp_path: Path, change: Callable[[np.ndarray], None], words: str) -> None:
    data = ExampleData(tmp_path, classes=True)
    whole = data.whole("train", NAME)
    change(whole)
    if words == "several classes":
        whole[..., 1] *= whole[..., 0] > 0
    data.put("train", "y", NAME, whole)
    found = inspect_dataset(tmp_path, InspectSettings(n_classes=3)).findings
    assert [one.kind for one in found] == ["classes"]
    assert words in found[0].text


def test_a_label_without_the_class_channel(tmp_path: Path) -> None:
    data = ExampleData(tmp_path, classes=True)
    data.put("train", "y", NAME, data.ids("train", NAME))
    assert check(data) == {("classes", Y)}
    assert check(data, n_classes=3) == {("classes", Y)}


def test_uncertain_axes(tmp_path: Path) -> None:
    data = ExampleData(tmp_path, 3)
    turned = (
        np.moveaxis(data.raw("train", NAME), 0, -1),
        np.moveaxis(data.ids("train", NAME), 0, -1),
    )
    for side, array in zip("xy", turned, strict=True):
        data.path("train", side, NAME).unlink()
        tifffile.imwrite(data.path("train", side, NAME), array)
    found = inspect_dataset(tmp_path)
    assert ("axes", X) in found_in(found, tmp_path)
    assert {one.kind for one in found.findings} <= {"axes", "mixed", "tiny"}


def test_slices_that_may_be_channels(tmp_path: Path) -> None:
    for place in range(2):
        ids = labels()
        stack = np.stack([image(ids, 7 * place + n) for n in range(6)])
        (tmp_path / "train" / "x").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "train" / "x" / f"{place}.npy", stack)
        write_tiff(tmp_path / "train" / "y" / f"{place}.tif", ids, "YX")
    found = inspect_dataset(tmp_path)
    assert {one.kind for one in found.findings} == {"axes"}
    assert "are they slices" in found.findings[0].text


def test_pairs_by_sorted_order(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    for place in range(3):
        path = data.path("train", "y", f"im{place}.tif")
        path.rename(path.with_name(f"annotation{place}.tif"))
    assert check(data) == {("order", "train/x")}


def test_images_and_labels_in_one_folder(tmp_path: Path) -> None:
    for place in range(3):
        ids = labels()
        write_tiff(tmp_path / f"cell{place}.tif", image(ids, place), "YX")
        write_tiff(tmp_path / f"cell{place}_mask.tif", ids, "YX")
    assert inspect_dataset(tmp_path).findings == ()
    (tmp_path / "cell1_mask.tif").unlink()
    found = inspect_dataset(tmp_path)
    assert found_in(found, tmp_path) == {("unpaired", "cell1.tif")}


@pytest.mark.parametrize(("image_end", "label_end"), [("_x", "_y"), ("_img", "_mask"), ("", "_gt")])
def test_check_and_init_pair_the_files_of_one_folder_equally(
    tmp_path: Path, image_end: str, label_end: str
) -> None:
    for place in range(3):
        ids = labels()
        write_tiff(tmp_path / f"seg_{place}{image_end}.tif", image(ids, place), "YX")
        write_tiff(tmp_path / f"seg_{place}{label_end}.tif", ids, "YX")
    inspection = inspect_dataset(tmp_path)
    assert inspection.findings == ()
    survey = survey_dataset(tmp_path, machine=Machine(1, 1 << 30))
    pairs = [(pair.image, pair.label) for pair in survey.parts[0].pairs]
    assert [(pair.image, pair.label) for pair in inspection.parts[0].pairs] == pairs


def test_classes_of_a_part(tmp_path: Path) -> None:
    ExampleData(tmp_path / "with", classes=True)
    ExampleData(tmp_path / "without")
    for name, expected in (("with", (1, 2)), ("without", ())):
        parts = inspect_dataset(tmp_path / name).parts
        assert [part.classes for part in parts] == [expected] * 2


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        inspect_dataset(tmp_path / "nothing")
    with pytest.raises(UserError, match="empty"):
        inspect_dataset(tmp_path)


def test_everything_found_is_plain_data(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data")
    pieces(data)
    lines: list[str] = []
    found = inspect_dataset(data.folder, report_progress=lines.append)
    train = [f"train: {done} of 3 files" for done in range(3)]
    assert lines == [*train, "test: 0 of 2 files", "test: 1 of 2 files"]
    path = write_json(tmp_path / "found.json", found.to_dict())
    again = json.loads(path.read_text())
    assert again["findings"][0]["where"][0]["id"] == 7
    assert again["findings"][0]["file"] == str(data.path("train", "y", NAME))
    assert [part["objects"] for part in again["parts"]] == [48, 32]


@pytest.mark.parametrize("ndim", [2, 3])
def test_boxes_of_very_large_images_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ndim: int
) -> None:
    """No file is read completely; findings follow from headers and boxes."""
    data = ExampleData(tmp_path, ndim)
    expected = pieces(data)
    assert check(data) == expected  # an id in two pieces needs the whole image
    monkeypatch.setattr(scan, "MAX_PIXELS", 2000)
    monkeypatch.setattr(files, "_SIDE", {2: 16, 3: 4})
    monkeypatch.setattr(files, "read_any_labels", None)
    for name in ("read_image", "read_labels"):
        monkeypatch.setattr(scan, name, None)
    found = inspect_dataset(tmp_path)
    assert found.findings == ()
    notes = [note for note in found.notes if "boxes of" in note]
    assert len(notes) == 5
    count, sides = ("9", "16 × 16") if ndim == 2 else ("27", "4 × 4 × 4")
    assert all(f"{count} boxes of {sides}" in note for note in notes)
    shape = (SIDE, SIDE) if ndim == 2 else (14, SIDE, SIDE)
    axes = "ZYX"[-ndim:]
    write_tiff(tmp_path / "train" / "x" / "im0.tif", np.full(shape, 9, np.uint8), axes)
    write_tiff(
        tmp_path / "train" / "y" / "im1.tif",
        np.zeros((*shape[:-1], SIDE + 1), np.uint16),
        axes,
    )
    names = {(one.kind, one.file.name) for one in inspect_dataset(tmp_path).problems}
    assert names == {("constant", "im0.tif"), ("shape", "im1.tif")}


@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("scored", [True, False])
def test_a_training_image_in_the_test_is_a_problem_only_with_scores(
    tmp_path: Path, labeled: bool, scored: bool
) -> None:
    data = ExampleData(tmp_path)
    for side in "xy":
        shutil.copy(data.path("train", side, "im0.tif"), data.path("test", side, "im0.tif"))
    train = Folders("train", tmp_path / "train" / "x", tmp_path / "train" / "y")
    for images, same_file in ((tmp_path / "test" / "x", False), (train.images, True)):
        labels = images.parent / "y" if labeled else None
        settings = InspectSettings(scored=scored)
        found = inspect_dataset([train, Folders("test", images, labels)], settings)
        severe = [one.severity for one in found.findings if one.kind == "leakage"]
        if labeled and scored:
            assert severe == ["problem"] * (3 if same_file else 1)
        else:
            assert severe == ([] if same_file else ["hint"])
        assert {one.kind for one in found.findings} <= {"leakage"}
