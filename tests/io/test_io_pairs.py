"""Listing folders, pairing images with labels, and the check before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.io.pairing import Pair, check_pairs, list_images, match_files, pair_files, pairing_rule

KEYS = ("DATA.TRAIN.PATH", "DATA.TRAIN.GT_PATH")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def paired(
    tmp_path: Path, images: list[str], labels: list[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    found = pair_files(touch(tmp_path / "x", *images), touch(tmp_path / "y", *labels), *KEYS)
    rule = pairing_rule(found)
    notes = [] if rule is None else [": ".join(rule)]
    return [(pair.image.name, pair.label.name if pair.label else "") for pair in found], notes


# --- listing -----------------------------------------------------------------------------------


def test_natural_order_without_hidden_files_and_folders(tmp_path: Path) -> None:
    touch(
        tmp_path / "x", "img10.tif", "img2.tif", "IMG1.TIF", ".hidden.tif", "notes.txt", "img2.png"
    )
    (tmp_path / "x" / "img3.tif").mkdir()
    found = [path.name for path in list_images(tmp_path / "x", "K")]
    assert found == ["IMG1.TIF", "img2.png", "img2.tif", "img10.tif"]


@given(numbers=st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_numbers_are_sorted_as_numbers(tmp_path: Path, numbers: list[int]) -> None:
    folder = tmp_path / str(abs(hash(tuple(numbers))))
    touch(folder, *[f"a{number}_b.png" for number in numbers])
    found = [int(path.name[1:-6]) for path in list_images(folder, "K")]
    assert found == sorted(numbers)


def test_folders_without_images(tmp_path: Path) -> None:
    cases = {
        "missing": "does not exist",
        "file.tif": "got the file .*, expected a folder",
        "empty": "is empty",
        "nested": r"contains only folders \(x\)",
        "other": r"no image: got the suffixes \.svg \(2\), no suffix \(1\), expected \.tif,",
    }
    (tmp_path / "file.tif").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nested" / "x").mkdir(parents=True)
    touch(tmp_path / "other", "a.svg", "b.SVG", "README")
    for name, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            list_images(tmp_path / name, "DATA.TEST.PATH")
        assert caught.value.message.startswith("DATA.TEST.PATH: ")
        assert name in caught.value.message
        assert caught.value.hint


# --- pairing -----------------------------------------------------------------------------------


def test_equal_stems(tmp_path: Path) -> None:
    found, told = paired(tmp_path, ["b10.tif", "b9.tif"], ["b9.png", "b10.ome.tif"])
    assert found == [("b9.tif", "b9.png"), ("b10.tif", "b10.ome.tif")]
    assert not told


def test_stems_are_compared_exactly(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"without label: a\.tif"):
        paired(tmp_path, ["a.tif", "b.tif"], ["A.tif", "b.tif"])


@pytest.mark.parametrize(
    "label",
    [
        "{}_mask",
        "{}_masks",
        "{}_label",
        "{}_labels",
        "{}_gt",
        "{}-mask",
        "mask_{}",
        "labels-{}",
        "{}_cp_masks",
    ],
)
def test_words_for_labels(tmp_path: Path, label: str) -> None:
    stems = ["cell2", "cell10", "x_1"]
    found, told = paired(
        tmp_path, [f"{stem}.tif" for stem in stems], [f"{label.format(stem)}.tif" for stem in stems]
    )
    assert found == [(f"{stem}.tif", f"{label.format(stem)}.tif") for stem in stems]
    assert len(told) == 1
    assert f"cell2.tif ↔ {label.format('cell2')}.tif" in told[0]


def test_words_on_both_sides(tmp_path: Path) -> None:
    found, told = paired(tmp_path, ["2_img.tif", "1_img.tif"], ["1_masks.tif", "2_masks.tif"])
    assert found == [("1_img.tif", "1_masks.tif"), ("2_img.tif", "2_masks.tif")]
    assert told


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("image_{}_0000", "image_{}"),
        ("img_{}_raw", "img_{}_mask"),
        ("raw-{}", "label-{}"),
        ("raw_{}_img", "mask_{}_seg"),
        ("image_{}", "image_{}_gt"),
        ("seg_{}_0000", "seg_{}"),
    ],
)
def test_words_that_are_part_of_the_name_at_its_other_end(
    tmp_path: Path, image: str, label: str
) -> None:
    images = [f"{image.format(number)}.tif" for number in ("001", "002", "010")]
    labels = [f"{label.format(number)}.tif" for number in ("001", "002", "010")]
    found, told = paired(tmp_path, images, labels)
    assert found == list(zip(images, labels, strict=True))
    assert "without words" in told[0]
    pairs, alone, unused = match_files(
        [tmp_path / name for name in images[1:]], [tmp_path / name for name in labels[:2]]
    )
    assert [(p.image.name, p.label.name) for p in pairs if p.label] == [(images[1], labels[1])]
    assert ([p.name for p in alone], [p.name for p in unused]) == ([images[2]], [labels[0]])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["a", "b", "c"], ["a_mask", "b_mask", "aa"]),
        (["a_img", "b_img", "c_img"], ["a_mask", "b_mask", "zz"]),
    ],
)
def test_words_that_match_in_part_never_mean_sorted_order(
    tmp_path: Path, images: list[str], labels: list[str]
) -> None:
    with pytest.raises(UserError, match=rf"without label: {images[2]}\.tif") as caught:
        paired(tmp_path, [f"{n}.tif" for n in images], [f"{n}.tif" for n in labels])
    assert f"without image: {labels[2]}.tif" in caught.value.message


def test_words_only_when_all_match(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        paired(tmp_path, ["a.tif", "b.tif", "c.tif"], ["a_mask.tif", "b_mask.tif"])
    assert "without label: c.tif" in caught.value.message
    assert "without image" not in caught.value.message


def test_sorted_order_is_reported(tmp_path: Path) -> None:
    numbers = [1, 2, 3, 10]
    found, told = paired(
        tmp_path,
        [f"training-{number}.tif" for number in numbers],
        [f"training_groundtruth-{number}.tif" for number in numbers],
    )
    assert found == [(f"training-{n}.tif", f"training_groundtruth-{n}.tif") for n in numbers]
    assert len(told) == 1
    assert "sorted order" in told[0]
    assert "training-3.tif ↔ training_groundtruth-3.tif" in told[0]
    assert "training-10" not in told[0]


def test_sorted_order_with_other_numbers_is_refused(tmp_path: Path) -> None:
    """One image and another label missing: the rest would shift by one unnoticed."""
    with pytest.raises(UserError, match=r"2 of 4 pairs have different numbers") as caught:
        paired(
            tmp_path,
            [f"im-{number}.tif" for number in (1, 2, 3, 5)],
            [f"truth-{number}.tif" for number in (1, 3, 4, 5)],
        )
    assert "im-2.tif ↔ truth-3.tif" in caught.value.message
    assert all(key in caught.value.message for key in KEYS)


@pytest.mark.parametrize(
    ("images", "labels", "alone", "unused"),
    [
        (["a", "b", "c"], ["a", "b"], "c.tif", None),
        (["a"], ["a", "z"], None, "z.tif"),
        (["a", "b"], ["a", "z"], "b.tif", "z.tif"),
        (["p", "q"], ["r"], "p.tif, q.tif", "r.tif"),
    ],
)
def test_files_without_partners(
    tmp_path: Path, images: list[str], labels: list[str], alone: str | None, unused: str | None
) -> None:
    with pytest.raises(UserError) as caught:
        paired(tmp_path, [f"{n}.tif" for n in images], [f"{n}.tif" for n in labels])
    lines = caught.value.message.splitlines()[1:]
    expected = [
        f"  {key}, without {other}: {names}"
        for key, other, names in zip(KEYS, ("label", "image"), (alone, unused), strict=True)
        if names
    ]
    assert lines == expected
    assert caught.value.hint


def test_many_files_without_partners_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a9\.tif … and 15 more"):
        paired(tmp_path, [f"a{n}.tif" for n in range(26)], ["a25.tif"])


def test_one_stem_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"DATA.TRAIN.GT_PATH: a\.png and a\.tif"):
        paired(tmp_path, ["a.tif"], ["a.tif", "a.png"])


def test_no_labels_and_the_same_folder(tmp_path: Path) -> None:
    folder = touch(tmp_path / "x", "b.tif", "a.tif")
    assert pair_files(folder, None, *KEYS) == [
        Pair(folder / "a.tif", None, "a"),
        Pair(folder / "b.tif", None, "b"),
    ]
    with pytest.raises(UserError, match="same folder"):
        pair_files(folder, tmp_path / "y" / ".." / "x", *KEYS)


# --- check -------------------------------------------------------------------------------------


def make_pair(folder: Path, name: str, image: np.ndarray, label: np.ndarray) -> Pair:
    tifffile.imwrite(folder / f"{name}.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / f"{name}_gt.tif", label, photometric="minisblack")
    return Pair(folder / f"{name}.tif", folder / f"{name}_gt.tif", name)


def test_check_passes_and_reports_the_axes(tmp_path: Path, messages: list[str]) -> None:
    blank = np.zeros((8, 9), np.uint8)
    pairs = [make_pair(tmp_path, name, blank, blank.astype(np.float32)) for name in "ab"]
    pairs.append(Pair(pairs[0].image, None, "z"))
    assert check_pairs(pairs, 2, 1, None) == [(8, 9)] * 3
    assert messages == [
        "images: axes YX from tifffile metadata (3 files)",
        "labels: axes YX from tifffile metadata (2 files)",
    ]


def test_check_lists_every_problem(tmp_path: Path) -> None:
    blank = np.zeros((8, 9), np.uint8)
    pairs = [
        make_pair(tmp_path, "good", blank, blank),
        make_pair(tmp_path, "shape", blank, blank.T),
        make_pair(tmp_path, "channels", np.zeros((8, 9, 2), np.uint8), blank),
        make_pair(tmp_path, "broken", blank, blank),
        make_pair(tmp_path, "float", blank, np.full((8, 9), 0.5, np.float32)),
        make_pair(tmp_path, "stack", blank, np.zeros((6, 8, 9), np.uint8)),
    ]
    pairs[3].image.write_bytes(b"no TIFF at all")
    color = tmp_path / "color.png"
    PIL.Image.fromarray(np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)).save(color)
    pairs.append(Pair(pairs[0].image, color, "color"))
    with pytest.raises(UserError) as caught:
        check_pairs(pairs, 2, 1)
    first, *lines = caught.value.message.splitlines()
    assert first == "6 problems in the images and labels:"
    for line, words in zip(
        lines,
        [
            ("shape.tif", "(8, 9)", "shape_gt.tif", "(9, 8)"),
            ("channels.tif", "first or last axis"),
            ("broken.tif", "cannot be read"),
            ("float_gt.tif", "with a fraction", "float.tif"),
            ("stack_gt.tif", "stack.tif"),
            ("color.png", "color picture", "good.tif"),
        ],
        strict=True,
    ):
        assert all(word in line for word in words), line
    assert caught.value.hint


def test_check_names_twenty_problems_at_most(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / f"{n}.tif", None, str(n)) for n in range(30)]
    with pytest.raises(UserError) as caught:
        check_pairs(pairs, 2, 1)
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("30 problems")
    assert len(lines) == 22
    assert lines[-1].strip() == "… and 10 more"


def test_check_classes(tmp_path: Path, messages: list[str]) -> None:
    blank = np.zeros((8, 9), np.uint8)
    two = np.zeros((8, 9, 2), np.uint8)
    with_classes = make_pair(tmp_path, "a", blank, two)
    check_pairs([with_classes], 2, 1, 3)
    assert not any("left out" in note for note in messages)
    check_pairs([with_classes], 2, 1, None)
    assert any("second channel" in note for note in messages)
    with pytest.raises(UserError, match=r"MODEL\.N_CLASSES"):
        check_pairs([make_pair(tmp_path, "b", blank, blank)], 2, 1, 3)


@pytest.mark.parametrize(
    ("images", "labels", "pairs", "alone", "unused"),
    [
        (["a.tif", "b.tif"], ["a.tif"], [("a.tif", "a.tif")], ["b.tif"], []),
        (["a.tif"], ["a_mask.tif", "c.tif"], [("a.tif", "a_mask.tif")], [], ["c.tif"]),
        (["img_a.tif"], ["a_label.png"], [("img_a.tif", "a_label.png")], [], []),
        # An equal name goes before one without its word.
        (["a.tif", "b.tif"], ["a_mask.tif", "a.tif"], [("a.tif", "a.tif")], ["b.tif"],
         ["a_mask.tif"]),
        # A second file of one name is left over.
        (["a.png", "a.tif"], ["a.tif"], [("a.png", "a.tif")], ["a.tif"], []),
        ([], ["a.tif"], [], [], ["a.tif"]),
    ],
)  # fmt: skip
def test_valid_pairs_are_returned_and_other_files_listed(
    images, labels, pairs, alone, unused
) -> None:
    x, y = Path("x"), Path("y")
    found, lonely, spare = match_files([x / n for n in images], [y / n for n in labels])
    assert [(pair.image, pair.label) for pair in found] == [(x / a, y / b) for a, b in pairs]
    assert lonely == [x / name for name in alone]
    assert spare == [y / name for name in unused]
