"""Data sets in usual, unusual and invalid layouts."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.dataset.facts import Machine, find_folders, survey_dataset
from singula.dataset.facts.images import survey_image
from singula.dataset.scan import Scan
from singula.errors import UserError
from singula.io.block_array import BlockArray
from singula.io.write import write_tiff
from singula.synthetic.fluorescence import make_dataset

MACHINE = Machine(cores=2, memory=8 << 30)


def put(path: Path, array: np.ndarray, axes: str = "YX") -> None:
    write_tiff(path, array, axes)


def image(seed: int = 0, shape: tuple[int, ...] = (32, 40)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


def labels(shape: tuple[int, ...] = (32, 40)) -> np.ndarray:
    made = np.zeros(shape, np.uint16)
    made[..., 4:12, 4:12] = 1
    made[..., 4:12, 12:20] = 5
    return made


def pairs_in(folder: Path, images: str, names: str, count: int = 2) -> None:
    for number in range(count):
        put(folder / images / f"a{number}.tif", image(number))
        put(folder / names / f"a{number}.tif", labels())


@pytest.mark.parametrize(
    ("images", "names"),
    [("x", "y"), ("raw", "label"), ("images", "labels"), ("images", "masks"), ("Img", "GT")],
)
@pytest.mark.parametrize(
    "parts", [("train",), ("train", "val", "test"), ("training", "validation")]
)
def test_a_folder_for_each_part(tmp_path: Path, images: str, names: str, parts) -> None:
    for part in parts:
        pairs_in(tmp_path / part, images, names)
    found, notes = find_folders(tmp_path)
    assert [part.name for part in found] == ["train", "val", "test"][: len(parts)]
    assert found[0].images == tmp_path / parts[0] / images
    assert found[0].labels == tmp_path / parts[0] / names
    assert notes == []


def test_images_and_labels_alone_are_training_data(tmp_path: Path) -> None:
    pairs_in(tmp_path, "raw", "label")
    found, _ = find_folders(tmp_path)
    assert [(part.name, part.images.name) for part in found] == [("train", "raw")]


def test_parts_below_images_and_labels(tmp_path: Path) -> None:
    for part in ("train", "val"):
        pairs_in(tmp_path, f"images/{part}", f"labels/{part}")
    found, _ = find_folders(tmp_path)
    assert [part.labels for part in found] == [tmp_path / "labels" / p for p in ("train", "val")]


def test_images_and_labels_in_one_folder_by_name(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        put(tmp_path / f"cell{number}_img.tif", image(number))
        put(tmp_path / f"cell{number}_masks.tif", labels())
    survey = survey_dataset(tmp_path, machine=MACHINE)
    (part,) = survey.parts
    assert part.flat
    assert [(p.image.name, p.label and p.label.name) for p in part.pairs] == [
        (f"cell{n}_img.tif", f"cell{n}_masks.tif") for n in (1, 2, 10)
    ]


def test_other_files_of_cellpose_are_not_images(tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path / f"cell{number}.tif", image(number))
        put(tmp_path / f"cell{number}_cp_masks.tif", labels())
        put(tmp_path / f"cell{number}_flows.tif", image(number, (3, 32, 40)), "CYX")
        session = np.array({"masks": labels()}, dtype=object)
        np.save(tmp_path / f"cell{number}_seg.npy", session, allow_pickle=True)
    (part,) = survey_dataset(tmp_path, machine=MACHINE).parts
    assert [(p.image.name, p.label and p.label.name) for p in part.pairs] == [
        (f"cell{n}.tif", f"cell{n}_cp_masks.tif") for n in (1, 2)
    ]


def test_labels_in_npy_can_have_the_ending_of_cellpose(tmp_path: Path) -> None:
    np.save(tmp_path / "cell_img.npy", image())
    np.save(tmp_path / "cell_seg.npy", labels())
    (part,) = survey_dataset(tmp_path, machine=MACHINE).parts
    assert [p.label and p.label.name for p in part.pairs] == ["cell_seg.npy"]


def test_folders_of_nnunet(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path / "imagesTr" / f"cell_{number:03}_0000.tif", image(number))
        put(tmp_path / "labelsTr" / f"cell_{number:03}.tif", labels())
    put(tmp_path / "imagesTs" / "cell_007_0000.tif", image())
    survey = survey_dataset(tmp_path, machine=MACHINE)
    train, test = survey.parts
    assert [(p.image.name, p.label and p.label.name) for p in train.pairs] == [
        (f"cell_{n:03}_0000.tif", f"cell_{n:03}.tif") for n in range(2)
    ]
    assert (test.name, test.label_dir) == ("test", None)


def test_the_parent_folder_can_be_named_data(tmp_path: Path) -> None:
    for part in ("train", "test"):
        pairs_in(tmp_path / "data" / part, "raw", "label")
    found, _ = find_folders(tmp_path)
    assert [part.images for part in found] == [
        tmp_path / "data" / part / "raw" for part in ("train", "test")
    ]


def test_the_parent_folder_with_other_folders(tmp_path: Path) -> None:
    pairs_in(tmp_path / "download" / "train", "x", "y")
    (tmp_path / "download" / "papers").mkdir()
    found, notes = find_folders(tmp_path)
    assert found[0].images == tmp_path / "download" / "train" / "x"
    assert notes == ["left out: papers"]


def test_test_images_may_have_no_labels(tmp_path: Path) -> None:
    pairs_in(tmp_path / "train", "x", "y")
    put(tmp_path / "test" / "x" / "new.tif", image())
    survey = survey_dataset(tmp_path, machine=MACHINE)
    test = survey.part("test")
    assert test is not None
    assert test.label_dir is None
    assert test.labels == ()
    assert len(survey.objects()) == len(survey.objects("train")) == 4


def test_facts_of_a_data_set(tmp_path: Path) -> None:
    pairs_in(tmp_path / "train", "x", "y")
    survey = survey_dataset(tmp_path, machine=MACHINE)
    assert (survey.ndim, survey.channels, survey.spacing, survey.anisotropy) == (2, 1, None, 1.0)
    objects = survey.objects("train")
    assert objects.ids.tolist() == [1, 5, 1, 5]
    assert objects.touching.all()
    assert objects.box.tolist() == [[8, 8]] * 4
    assert survey.labels[0].foreground == pytest.approx(128 / 1280)
    assert survey.machine == MACHINE


@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 1.0)])
def test_volumes_and_their_anisotropy(tmp_path: Path, spacing) -> None:
    made = {"n_train": 2, "n_val": 0, "n_test": 0, "shape": (30, 128, 128), "spacing": (3.0, 1, 1)}
    make_dataset(tmp_path, 3, np.random.default_rng(0), **made)
    if spacing is None:
        for path in tmp_path.glob("train/*/*.tif"):
            put(path, tifffile.imread(path), "ZYX")
    survey = survey_dataset(tmp_path, machine=MACHINE)
    assert survey.ndim == 3
    assert survey.anisotropy == pytest.approx(3.0, rel=0.01 if spacing else 0.3)


def test_stacks_without_axes_are_volumes_if_their_labels_are(tmp_path: Path) -> None:
    for name, array in (("x", image(0, (6, 20, 24))), ("y", labels((6, 20, 24)))):
        (tmp_path / "train" / name).mkdir(parents=True)
        np.save(tmp_path / "train" / name / "a.npy", array)
    assert survey_dataset(tmp_path, machine=MACHINE).ndim == 3


def test_colors_without_axes_are_channels_if_labels_are_flat(tmp_path: Path) -> None:
    for name, array in (("x", image(0, (20, 24, 3))), ("y", labels((20, 24)))):
        (tmp_path / "train" / name).mkdir(parents=True)
        np.save(tmp_path / "train" / name / "a.npy", array)
    survey = survey_dataset(tmp_path, machine=MACHINE)
    assert (survey.ndim, survey.channels) == (2, 3)


def test_classes(tmp_path: Path) -> None:
    made = {"n_train": 2, "n_val": 0, "n_test": 0, "shape": (96, 96), "n_classes": 3}
    make_dataset(tmp_path, 2, np.random.default_rng(0), **made)
    survey = survey_dataset(tmp_path, machine=MACHINE)
    assert survey.classes == (1, 2, 3)


def test_large_images_are_sampled(tmp_path: Path) -> None:
    whole = image(0, (300, 900))
    path = tmp_path / "a.tif"
    put(path, whole)
    scan = Scan.of_image(path, 2)
    some, every = survey_image(scan, 20_000), survey_image(scan)
    assert (some.percentiles != every.percentiles).any()
    assert some.shape == every.shape == (300, 900)
    np.testing.assert_allclose(some.percentiles, every.percentiles, atol=6)


def test_boolean_images_are_treated_as_numbers(tmp_path: Path) -> None:
    array = image() > 200
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array.astype(np.uint8))
    found, expected = (survey_image(Scan.of_image(tmp_path / f"{n}.npy", 2)) for n in "ab")
    assert found.dtype == "bool"
    np.testing.assert_array_equal(found.percentiles, expected.percentiles)


def test_the_number_of_sampled_files_is_limited(tmp_path: Path) -> None:
    pairs_in(tmp_path / "train", "x", "y", count=7)
    survey = survey_dataset(tmp_path, max_files=3, machine=MACHINE)
    (part,) = survey.parts
    assert (len(part.pairs), len(part.shapes), len(part.images), len(part.labels)) == (7, 7, 3, 3)


def test_images_and_labels_of_different_shapes_are_rejected(tmp_path: Path) -> None:
    pairs_in(tmp_path / "train", "x", "y", count=3)
    put(tmp_path / "train" / "y" / "a0.tif", labels((32, 32)))
    with pytest.raises(UserError, match=r"a0\.tif") as caught:
        survey_dataset(tmp_path, machine=MACHINE, ndim=2)
    assert caught.value.code == "data.shape_mismatch"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda d: None, "data.empty_folder"),
        (lambda d: (d / "note.txt").write_text("x"), "data.no_images"),
        (lambda d: put(d / "a.tif", image()), "data.no_labels"),
        (lambda d: put(d / "train" / "x" / "a.tif", image()), "data.no_labels"),
        (lambda d: put(d / "train" / "y" / "a.tif", labels()), "data.unknown_layout"),
        (lambda d: pairs_in(d / "test", "x", "y"), "data.no_training_data"),
        (lambda d: [(d / n).mkdir() for n in ("one", "two")], "data.unknown_layout"),
    ],
)  # fmt: skip
def test_folders_without_a_data_set_are_rejected_with_a_remedy(
    tmp_path: Path, make, code: str
) -> None:
    make(tmp_path)
    with pytest.raises(UserError) as caught:
        survey_dataset(tmp_path, machine=MACHINE)
    assert caught.value.code == code
    assert caught.value.hint


def test_no_folder_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_folders(tmp_path / "nowhere")
    put(tmp_path / "a.tif", image())
    with pytest.raises(UserError, match="is a file"):
        find_folders(tmp_path / "a.tif")


def test_an_image_is_not_a_data_set(tmp_path: Path) -> None:
    BlockArray.create(tmp_path / "a.zarr", (8, 8), np.uint8, ndim=2, kind="image").finish()
    with pytest.raises(UserError) as caught:
        find_folders(tmp_path / "a.zarr")
    assert caught.value.code == "data.no_dataset"


def test_files_without_a_partner_in_one_folder_are_named(tmp_path: Path) -> None:
    put(tmp_path / "a.tif", image())
    put(tmp_path / "a_mask.tif", labels())
    put(tmp_path / "b.tif", image())
    put(tmp_path / "c_mask.tif", labels())
    with pytest.raises(UserError, match=r"without labels: b\.tif; without image: c_mask\.tif"):
        survey_dataset(tmp_path, machine=MACHINE)


def test_images_and_volumes_together_are_refused(tmp_path: Path) -> None:
    pairs_in(tmp_path / "train", "x", "y", count=1)
    put(tmp_path / "train" / "x" / "v.tif", image(0, (4, 32, 40)), "ZYX")
    put(tmp_path / "train" / "y" / "v.tif", labels((4, 32, 40)), "ZYX")
    with pytest.raises(UserError, match="some volumes"):
        survey_dataset(tmp_path, machine=MACHINE)
