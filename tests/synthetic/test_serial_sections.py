"""Drawn serial sections have the properties of electron microscopy."""

import numpy as np
import pytest
from scipy import ndimage

from singula.dataset.facts import Machine, survey_dataset
from singula.dataset.facts.objects import survey_objects
from singula.synthetic.serial_sections import make_em_dataset, make_em_volume

SHAPE = (12, 160, 144)


@pytest.fixture(scope="module")
def volume():
    return make_em_volume(SHAPE, np.random.default_rng(5))


def test_a_seed_gives_the_same_volume(volume) -> None:
    again = make_em_volume(SHAPE, np.random.default_rng(5))
    np.testing.assert_array_equal(again.image, volume.image)
    np.testing.assert_array_equal(again.labels, volume.labels)
    other = make_em_volume(SHAPE, np.random.default_rng(6))
    assert not np.array_equal(other.labels, volume.labels)


def test_image_and_labels_have_the_shape_and_consecutive_ids(volume) -> None:
    assert volume.image.shape == volume.labels.shape == SHAPE
    assert (volume.image.dtype, volume.labels.dtype) == (np.uint8, np.uint16)
    ids = np.unique(volume.labels)
    assert ids.tolist() == list(range(len(ids)))
    assert 0.05 < (volume.labels > 0).mean() < 0.3


def test_each_object_is_one_connected_component(volume) -> None:
    for number in range(1, int(volume.labels.max()) + 1):
        mask = volume.labels == number
        assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1
        assert mask.sum() >= 40


def test_the_border_cuts_many_objects_and_leaves_slivers() -> None:
    cut, complete, smallest = 0, 0, []
    for seed in range(4):
        labels = make_em_volume(SHAPE, np.random.default_rng(seed)).labels
        objects = survey_objects(labels)
        cut += int(objects.border.sum())
        complete += int((~objects.border).sum())
        smallest.append(objects.npixels[objects.border].min())
    assert cut > complete > 0
    assert min(smallest) < 200


def test_objects_and_distractors_are_darker_than_the_cytoplasm(volume) -> None:
    inside = ndimage.binary_erosion(volume.labels > 0, iterations=2)
    outside = ~ndimage.binary_dilation(volume.labels > 0, iterations=4)
    level = np.median(volume.image[inside])
    assert level < np.median(volume.image[outside]) - 15
    # Dense bodies and membranes are as dark.
    assert (volume.image[outside] < level).mean() > 0.03


def test_a_data_set_has_the_voxel_size_of_sections(tmp_path) -> None:
    make_em_dataset(tmp_path, np.random.default_rng(0), n_train=1, n_test=1, shape=(6, 64, 64))
    survey = survey_dataset(tmp_path, machine=Machine(1, 1 << 30))
    assert survey.anisotropy == pytest.approx(50 / 9, rel=1e-3)
    assert [part.name for part in survey.parts] == ["train", "test"]


def test_a_plane_is_refused() -> None:
    with pytest.raises(ValueError, match="three axes"):
        make_em_volume((64, 64), np.random.default_rng(0))
