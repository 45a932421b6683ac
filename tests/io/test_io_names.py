"""Names of files: Unicode forms, order, and sorted order confirmed by the names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.dataset.facts import find_folders
from singula.errors import UserError
from singula.io.formats.table import full_suffix_of, stem_of
from singula.io.list_images import list_images
from singula.io.names import agree_in_order, natural
from singula.io.pairing import match_files, pair_files, pairing_rule

KEYS = ("IMAGES", "LABELS")
FORMS = ("NFC", "NFD")


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def names_of(pairs) -> list[tuple[str, str]]:
    return [(pair.image.name, pair.label.name) for pair in pairs]


# --- Unicode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "_mask"])
@pytest.mark.parametrize("of_labels", FORMS)
@pytest.mark.parametrize("of_images", FORMS)
def test_equivalent_names_are_one_name(
    tmp_path: Path, of_images: str, of_labels: str, end: str
) -> None:
    stems = ["Zürich_1", "Gräser_2", "Ångström_3", "한글_4"]
    images = [unicodedata.normalize(of_images, f"{stem}.tif") for stem in stems]
    labels = [unicodedata.normalize(of_labels, f"{stem}{end}.ome.tif") for stem in stems]
    x, y = touch(tmp_path / "x", images), touch(tmp_path / "y", labels)
    expected = dict(zip(images, labels, strict=True))
    pairs = pair_files(x, y, *KEYS)
    assert dict(names_of(pairs)) == expected
    assert all(pair.image.is_file() and pair.label.is_file() for pair in pairs)
    assert all(unicodedata.is_normalized("NFC", pair.name) for pair in pairs)
    found, alone, unused = match_files([*x.iterdir()], [*y.iterdir()])
    assert (dict(names_of(found)), alone, unused) == (expected, [], [])


def test_equivalent_names_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    image, label = "Zürich.tif", unicodedata.normalize("NFD", "Zürich_mask.tif")
    touch(folder, [image, label])
    (part,) = find_folders(folder)[0]
    assert names_of(part.pairs()) == [(image, label)]


def test_two_spellings_of_one_name_in_a_folder_are_one_name_twice(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "ü.tif") for form in FORMS]
    with pytest.raises(UserError, match="same name"):
        pair_files(touch(tmp_path / "x", names), None, *KEYS)


def test_compatible_characters_are_different_names() -> None:
    """Canonical equivalence only: a ligature or a superscript is another name."""
    assert stem_of(Path("ﬁg.tif")) != stem_of(Path("fig.tif"))
    assert stem_of(Path("a².tif")) != stem_of(Path("a2.tif"))


@given(st.text("aüéŅ한1_", min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_stem_suffix_and_order_do_not_depend_on_the_form(stem: str) -> None:
    first, second = (Path(unicodedata.normalize(form, stem) + ".OME.tif") for form in FORMS)
    assert stem_of(first) == stem_of(second)
    assert full_suffix_of(first) == full_suffix_of(second) == ".OME.tif"
    assert natural(first.name)[0] == natural(second.name)[0]


# --- sorted order -------------------------------------------------------------------------------

CONFIRMED = [
    (
        ["training-0001", "training-0002"],
        ["training_groundtruth-0001", "training_groundtruth-0002"],
    ),
    (["im9", "im10"], ["truth_009", "truth_010"]),
    (["pos1_t1", "pos1_t2", "pos2_t1", "pos2_t2"], ["p1-t1", "p1-t2", "p2-t1", "p2-t2"]),
    (["2024-01-05_pos1", "2024-01-05_pos2"], ["gt1", "gt2"]),
    (["001_ch00", "002_ch00"], ["001", "002"]),
    (["001_raw_w1", "002_raw_w1"], ["001_manual_w2", "002_manual_w2"]),
    (["HeLa_ctrl", "U2OS_ctrl"], ["HeLa_truth", "U2OS_truth"]),
    (["cellA", "cellB"], ["maskA", "maskB"]),
    (["volume"], ["annotation"]),  # one image and one label: there is no other way to pair them
]
DIFFERENT = [
    (["im0", "im1"], ["t1", "t2"]),
    (["apple", "pear"], ["potato", "tomato"]),
    (["pos1_t1", "pos1_t2", "pos2_t1"], ["p1-t1", "p1-t3", "p2-t1"]),
    (["a_1", "b_1"], ["c_1", "d_1"]),  # the number is the same everywhere
    (["IMG_20240105_1", "IMG_20240105_2"], ["GT_20240105_3", "GT_20240105_4"]),
    (["x1y2", "x2y1"], ["x1y2a", "x1y3a"]),
]


@pytest.mark.parametrize(("images", "labels"), CONFIRMED)
def test_names_that_confirm_sorted_order(
    tmp_path: Path, images: list[str], labels: list[str]
) -> None:
    assert agree_in_order(images, labels)
    x, y = (
        touch(tmp_path / s, [f"{n}.tif" for n in own])
        for s, own in zip("xy", (images, labels), strict=True)
    )
    pairs = pair_files(x, y, *KEYS)
    assert [(p.image.stem, p.label.stem) for p in pairs if p.label] == [
        *zip(images, labels, strict=True)
    ]
    assert pairing_rule(pairs) is not None


@pytest.mark.parametrize(("images", "labels"), DIFFERENT)
def test_names_that_do_not_confirm_sorted_order_are_refused_unless_it_is_allowed(
    tmp_path: Path, images: list[str], labels: list[str]
) -> None:
    x, y = (
        touch(tmp_path / s, [f"{n}.tif" for n in own])
        for s, own in zip("xy", (images, labels), strict=True)
    )
    with pytest.raises(UserError) as caught:
        pair_files(x, y, *KEYS)
    assert caught.value.code == "io.names_differ"
    assert "DATA.PAIR_BY_SORTED_ORDER" in str(caught.value.hint)
    pairs = pair_files(x, y, *KEYS, by_order=True)
    assert [(p.image.stem, p.label.stem) for p in pairs if p.label] == [
        *zip(images, labels, strict=True)
    ]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_shifted_label_never_passes(data) -> None:
    """Take one image and another label away: numbers no longer agree in sorted order."""
    count = data.draw(st.integers(3, 12))
    gone = data.draw(st.integers(0, count - 1))
    other = data.draw(st.integers(0, count - 1).filter(lambda n: n != gone))
    numbers = range(count)
    images = [f"a{n}_s7" for n in numbers if n != gone]
    labels = [f"truth-{n:03}" for n in numbers if n != other]
    assert not agree_in_order(images, labels)
    assert agree_in_order(images, [f"truth-{n:03}" for n in numbers if n != gone])


@given(
    st.lists(st.from_regex(r"[a-z]{1,3}[0-9]{1,3}(_[a-z0-9]{1,3})?", fullmatch=True),
             min_size=1, max_size=6, unique=True)
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_names_that_differ_in_a_constant_word_always_agree(stems: list[str]) -> None:
    stems = sorted({s.lower(): s for s in stems}.values(), key=natural)
    distinct = len({tuple(map(str, natural(s)[0])) for s in stems}) == len(stems)
    assert agree_in_order(stems, [f"{stem} manual" for stem in stems]) or not distinct


# --- listing ------------------------------------------------------------------------------------


def test_equivalent_folders_are_sorted_alike(tmp_path: Path) -> None:
    stems = ["äb", "az", "ao", "ü1"]
    orders = []
    for form in FORMS:
        names = [unicodedata.normalize(form, f"{stem}.tif") for stem in stems]
        found = list_images(touch(tmp_path / form, names), "K")
        orders.append([stem_of(path) for path in found])
    assert orders[0] == orders[1]
