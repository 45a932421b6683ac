"""Objects estimated from cross sections in annotated slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.autoconfig.sizes import Sizes
from singula.dataset.facts import Machine, survey_dataset
from singula.dataset.facts.objects import survey_objects, survey_sparse
from singula.dataset.facts.sections import objects_from_sections

SHAPE, ANISOTROPY = (40, 130, 130), 2.0


def balls() -> np.ndarray:
    """Return balls of 20 to 26 pixels across at any depth; voxels are twice as deep as wide."""
    labels = np.zeros(SHAPE, np.int16)
    z, y, x = np.indices(SHAPE)
    rng = np.random.default_rng(0)
    centers = [(b, a) for b in range(15, 130, 28) for a in range(15, 130, 28)]
    for number, (b, a) in enumerate(centers, 1):
        c = rng.integers(8, 32)
        away = (ANISOTROPY * (z - c)) ** 2 + (y - b) ** 2 + (x - a) ** 2
        labels[away <= rng.uniform(10, 13) ** 2] = number
    return labels


def annotated(labels: np.ndarray, slices: list[int]) -> np.ndarray:
    """Return labels in which the other slices are not annotated."""
    sparse = np.full_like(labels, -1)
    sparse[slices] = labels[slices]
    return sparse


@pytest.mark.parametrize("slices", [[20], [9, 29], [5, 15, 25, 35]])
def test_sizes_of_balls_are_estimated_from_their_sections(slices) -> None:
    labels = balls()
    whole = survey_objects(labels)
    sections, is_section = survey_sparse(annotated(labels, slices))
    assert is_section
    assert (sections.box[:, 0] == 1).all()
    assert set(sections.low[:, 0].tolist()) <= set(slices)
    assert sections.npixels.sum() == (labels[slices] > 0).sum()
    estimated = objects_from_sections(sections, ANISOTROPY)
    for name, tolerance in (("npixels", 0.5), ("box", 0.2), ("radius", 0.2)):
        true, estimate = (np.median(getattr(o, name), axis=0) for o in (whole, estimated))
        assert estimate == pytest.approx(true, rel=tolerance), name
    assert (estimated.core > 0).all()


def test_a_block_of_a_volume_has_no_sections() -> None:
    labels = balls()
    sparse = np.full_like(labels, -1)
    sparse[:22] = labels[:22]
    objects, is_section = survey_sparse(sparse)
    assert not is_section
    assert objects.box[:, 0].max() > 5


def test_sizes_of_a_data_set_of_annotated_slices(tmp_path: Path) -> None:
    labels, sizes = balls(), []
    for name, stored in (("whole", labels), ("slices", annotated(labels, [9, 29]))):
        for kind, array in (("x", labels.astype(np.uint8)), ("y", stored)):
            file = tmp_path / name / "train" / kind / "image.tif"
            file.parent.mkdir(parents=True)
            metadata = {"axes": "ZYX", "spacing": ANISOTROPY, "unit": "um"}
            tifffile.imwrite(
                file, array, imagej=kind == "x", metadata=metadata, resolution=(1.0, 1.0)
            )
        survey = survey_dataset(tmp_path / name, machine=Machine(cores=1, memory=8 << 30))
        sizes.append(Sizes.of(survey))
        assert any("single slices" in note for note in survey.notes) == (name == "slices")
    whole, sections = sizes
    assert sections.typical == pytest.approx(whole.typical, rel=0.2)
    assert sections.min_pixels == pytest.approx(whole.min_pixels, rel=0.4)
    assert sections.lost == whole.lost == 0
