"""Check of the wizard: progress, cancellation, dimensions, findings and a corrected copy."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from singula.dataset.checks import KINDS
from singula.dataset.facts import find_folders
from singula.errors import UserError
from singula.gui import data_check
from singula.gui.data_check import (
    CheckCache,
    CheckCanceledError,
    CheckedData,
    DataCheck,
    check_classes,
    check_ndim,
    propose_copy,
    report_lines,
    write_corrected,
)
from singula.gui.entries import FOLDERS, STEPS, WizardEntries
from singula.gui.guard import Guard
from singula.io.read import read_labels
from singula.io.write import write_tiff

N_IMAGES = 3


def write_pair(folder: Path, name: str, labels: np.ndarray) -> None:
    axes = "YX" if labels.ndim == 2 else "ZYX"
    raw = np.where(labels > 0, 200, 20) + np.random.default_rng(len(name)).integers(
        0, 30, labels.shape
    )
    write_tiff(folder / "train" / "x" / name, raw.astype(np.uint8), axes)
    write_tiff(folder / "train" / "y" / name, labels, axes)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with images of two objects; in one, the labels have a stray pixel."""
    for number in range(N_IMAGES):
        labels = np.zeros((40, 40), np.uint16)
        labels[4:14, 4 + number : 16] = 1
        labels[20:32, 20 : 34 + number] = 2
        if number == 1:
            labels[38, 2] = 1
        write_pair(tmp_path / "cells", f"im{number}.tif", labels)
    return tmp_path


def checked(home: Path, ndim: int | None = None, cache: CheckCache | None = None) -> CheckedData:
    folder = home / "cells"
    return DataCheck(lambda: find_folders(folder), ndim, cache or CheckCache()).run()


def test_findings_keep_severity_advice_and_pictures(home: Path) -> None:
    data = checked(home)
    assert data.inspection.ndim == 2
    assert data.is_usable
    (group,) = (g for g in data.groups if g.severity == "problem" and g.n_fixable)
    (finding, *_) = (f for f in data.inspection.problems if f.fixable)
    assert group.advice == (finding.suggestion,)
    assert group.rows[0][0] == "train: im1.tif"
    assert all(picture.png.startswith(b"\x89PNG") for picture in group.pictures)
    assert group.pictures
    severities = [group.severity for group in data.groups]
    assert severities == sorted(severities, key=["problem", "hint"].index)
    assert {s.name for s in data.shown["train"]} == {f"im{i}" for i in range(N_IMAGES)}


def test_fix_writes_a_copy_without_problems(home: Path) -> None:
    guard, data = Guard.of([home]), checked(home)
    folder = propose_copy(guard, data)
    assert folder == "cells_corrected"
    before = (home / "cells/train/y/im1.tif").read_bytes()
    report = write_corrected(guard, data, "copy")
    assert "3 images" in report_lines(report, guard)[0]
    assert (home / "cells/train/y/im1.tif").read_bytes() == before
    labels = read_labels(home / "copy/train/y/im1.tif", 2).array[..., 0]
    assert labels[38, 2] == 0
    copy = DataCheck(lambda: find_folders(home / "copy"), None, CheckCache()).run()
    assert not copy.inspection.problems
    for target, code in (
        ("", "gui.no_folder"),
        ("../x", "gui.outside"),
        ("copy", "check.target_not_empty"),
        ("cells/train/x/copy", "check.target_in_data"),
    ):
        with pytest.raises(UserError) as error:
            write_corrected(guard, data, target)
        assert error.value.code == code


def test_a_check_reports_progress_and_is_canceled(home: Path, monkeypatch) -> None:
    check = DataCheck(lambda: find_folders(home / "cells"), None, CheckCache())
    assert check.progress[1] is None
    shares: list[float | None] = []
    count: Callable[[str], None] = check._count

    def record(line: str) -> None:
        count(line)
        shares.append(check.progress[1])
        if len(shares) == 2:
            check.cancel()

    monkeypatch.setattr(check, "_count", record)
    with pytest.raises(CheckCanceledError):
        check.run()
    assert shares == pytest.approx([1 / N_IMAGES, 2 / N_IMAGES])


def test_two_pages_share_a_check(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, inspected = CheckCache(), []
    inspect = data_check.inspect_dataset
    monkeypatch.setattr(
        data_check, "inspect_dataset", lambda *a, **k: inspected.append(1) or inspect(*a, **k)
    )
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: checked(home, cache=cache), range(2)))
    assert results[0] is results[1]
    assert inspected == [1]


def test_an_unchanged_data_set_is_not_checked_again(home: Path) -> None:
    cache = CheckCache()
    first = checked(home, cache=cache)
    assert checked(home, cache=cache) is first
    assert checked(home, 2, cache) is not first
    labels = np.zeros((40, 40), np.uint16)
    labels[4:14, 4:14] = 1
    write_pair(home / "cells", "im9.tif", labels)
    again = checked(home, cache=cache)
    assert len(again.inspection.parts[0].pairs) == N_IMAGES + 1


@pytest.mark.parametrize(("actual", "chosen"), [(2, 3), (3, 2)])
def test_a_wrong_number_of_dimensions_is_reported_as_such(
    tmp_path: Path, actual: int, chosen: int
) -> None:
    labels = np.zeros((40,) * actual if actual == 2 else (20, 40, 40), np.uint16)
    labels[..., 4:14, 4:14] = 1
    write_pair(tmp_path, "a.tif", labels)
    parts, _ = find_folders(tmp_path)
    for ndim in (None, actual):
        check_ndim(parts, ndim)
    with pytest.raises(UserError) as error:
        check_ndim(parts, chosen)
    assert error.value.code == "gui.wrong_ndim"


def test_several_kinds_need_labels_with_classes(home: Path) -> None:
    data = checked(home)
    assert data.classes == 1
    check_classes(data, 1)
    with pytest.raises(UserError) as error:
        check_classes(data, 2)
    assert error.value.code == "gui.no_classes"
    for number in range(N_IMAGES):
        path = home / "cells" / "train" / "y" / f"im{number}.tif"
        ids = read_labels(path, 2).array[..., 0].astype(np.uint16)
        write_tiff(path, np.stack([ids, np.minimum(ids, 2)], -1), "YXC")
    data = checked(home)
    assert data.classes == 2
    check_classes(data, 2)


def test_damaged_data_are_not_usable(home: Path) -> None:
    (home / "cells" / "train" / "x" / "im0.tif").write_bytes(b"broken")
    (home / "cells" / "train" / "y" / "im1.tif").unlink()
    data = checked(home)
    assert not data.is_usable
    titles = {group.title for group in data.groups if group.severity == "problem"}
    assert {KINDS[kind].title for kind in ("unreadable", "unpaired")} <= titles


def test_a_broken_link_is_a_finding(home: Path) -> None:
    (home / "cells" / "train" / "x" / "im9.tif").symlink_to(home / "nowhere.tif")
    data = checked(home)
    assert "im9.tif" in str([group.rows for group in data.groups])


def test_the_address_restores_the_entries() -> None:
    from urllib.parse import parse_qsl, urlsplit

    entries = WizardEntries(
        step="training", ndim=3, find="BCD", data="é ü/&x", classes=3, output="a b.yaml",
        results="out", minutes=2.5, checked=True, folders={FOLDERS[0]: "x/y", FOLDERS[3]: "z"},
    )  # fmt: skip
    query = dict(parse_qsl(urlsplit(entries.address).query))
    assert WizardEntries.from_query(query) == entries
    assert WizardEntries.from_query({}) == WizardEntries()
    wrong = dict.fromkeys(("step", "ndim", "find", "classes", "minutes"), "nan")
    assert WizardEntries.from_query(wrong) == WizardEntries()
    assert WizardEntries.from_query({"classes": "1e300"}).classes == 1
    assert all(WizardEntries.from_query({"step": step}).step == step for step in STEPS)
