"""Findings on files of a set, and on files of several images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from image_sets import SHAPE, planes, write_plate, write_positions

from singula.dataset.checks import inspect_dataset
from singula.dataset.facts import survey_dataset


def write_labels(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        labels = np.zeros(SHAPE, np.uint8)
        labels[2 + number : 8 + number, 3:10] = 1
        tifffile.imwrite(folder / f"{name}.tif", labels)


def test_positions_of_a_set_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "train" / "x").mkdir(parents=True)
    write_positions(tmp_path / "train" / "x", 3)
    write_labels(tmp_path / "train" / "y", ["Pos0", "Pos1", "Pos2"])
    found = inspect_dataset(tmp_path)
    assert not {"duplicate", "unreadable", "left_out"} & {one.kind for one in found.findings}
    (note,) = [note for note in found.notes if "of a set" in note]
    assert note.endswith("(3 files)")


def test_omitted_images_are_a_finding_and_a_note(tmp_path: Path) -> None:
    images = tmp_path / "train" / "x"
    images.mkdir(parents=True)
    with tifffile.TiffWriter(images / "two.tif") as tif:
        tif.write(planes(1)[0], metadata=None, contiguous=False)
        tif.write(planes(1, (7, 9))[0], metadata=None, contiguous=False)
    write_plate(images / "plate.zarr", "0.4")
    write_labels(tmp_path / "train" / "y", ["two", "plate"])
    found = [one for one in inspect_dataset(tmp_path).findings if one.kind == "left_out"]
    assert {one.file.name for one in found} == {"two.tif", "plate.zarr"}
    assert all(one.severity == "hint" for one in found)
    texts = " ".join(one.text for one in found)
    notes = " ".join(survey_dataset(tmp_path).notes)
    for name in ("1 (7, 9)", "B/2/1", "A/1/0"):
        assert name in texts
        assert name in notes
