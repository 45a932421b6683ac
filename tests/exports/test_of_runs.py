"""Export of finished runs with the command line."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import singula
from singula import cli
from singula.errors import UserError
from singula.exports.sources import find_sources
from singula.io.run_folder import ResultsTree
from singula.io.write import write_json, write_tiff
from singula.runs.instances import check_ids
from singula.synthetic.fluorescence import make_image


def make_run(folder: Path, ndim: int = 2, **keys: object) -> Path:
    """Write the files of a run: instances of two images, before and after post-processing."""
    run = folder / "job" / "results" / "job_1"
    tree = ResultsTree.of_run(run)
    labels = np.zeros((20, 20) if ndim == 2 else (4, 20, 20), np.uint16)
    labels[..., 2:8, 3:9] = 1
    labels[..., 12:18, 2:9] = 2
    axes = "YX" if ndim == 2 else "ZYX"
    for name in ("a", "b"):
        write_tiff(tree.per_image_instances / f"{name}.tif", labels, axes, (0.5,) * ndim, "µm")
        final = np.where(labels == 1, 0, labels)
        write_tiff(tree.per_image_post_processing / f"{name}.tif", final, axes, (0.5,) * ndim, "µm")
    configuration = {"PROBLEM.NDIM": f"{ndim}D", "DATA.TEST.RESOLUTION": [-1], **keys}
    files = {"a": ["data/x/a.png", None], "b": ["data/x/b.png", None]}
    summary = {"configuration": configuration, "job": {"id": "job_1"}}
    write_json(tree.run_json, summary | {"test": {"instances": {"a": 2, "b": 2}, "files": files}})
    return run


def say(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["singula", *map(str, words)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_last_step_is_exported(tmp_path: Path) -> None:
    decoded = find_sources(make_run(tmp_path / "1"))
    assert [np.unique(s.read().labels).tolist() for s in decoded] == [[0, 1, 2]] * 2
    keys = {"TEST.POST_PROCESSING.CLEAR_BORDER": True}
    (first, _) = find_sources(make_run(tmp_path / "2", **keys))
    item = first.read()
    assert np.unique(item.labels).tolist() == [0, 2]
    assert item.file_name == "a.png"
    assert (item.spacing, item.unit) == ((0.5, 0.5), "µm")


def test_a_configured_size_has_the_unit_in_which_the_plane_agrees(tmp_path: Path) -> None:
    cases = (
        ([2.0, 0.7, 0.7], None),
        ([2.0, 0.5, 0.5], "µm"),
        ([0.5, 0.5, 0.5], "µm"),
        ([2000.0, 500.0, 500.0], "nm"),
    )
    for number, (size, unit) in enumerate(cases):
        run = make_run(tmp_path / str(number), 3, **{"DATA.TEST.RESOLUTION": size})
        item = find_sources(run)[0].read()
        assert (item.spacing, item.unit) == (tuple(size), unit)
        assert find_sources(run, unit="nm")[0].read().unit == "nm"


def test_a_run_whose_folder_cannot_be_written(tmp_path: Path, monkeypatch, capsys) -> None:
    """The error names the option, because another folder can be written."""
    run = make_run(tmp_path)
    access = os.access

    def deny(path: Path, mode: int, **options: object) -> bool:
        return not (mode & os.W_OK and Path(path) == run) and access(path, mode, **options)

    monkeypatch.setattr(os, "access", deny)
    assert say(monkeypatch, "export", run, "--to", "csv") == 2
    assert f"--output: {run / 'exports'} cannot be written" in capsys.readouterr().err
    assert not (run / "exports").exists()
    assert say(monkeypatch, "export", run, "--to", "csv", "-o", tmp_path / "other") == 0


def test_by_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    run = make_run(tmp_path)
    assert say(monkeypatch, "export", run, "--to", "csv") == 0
    assert "a: 2 instances" in capsys.readouterr().out
    table = pd.read_csv(run / "exports" / "instances.csv")
    assert table["area_µm²"].tolist() == [9.0, 10.5] * 2
    assert say(monkeypatch, "export", run, "--to", "csv") == 2
    assert "--overwrite" in capsys.readouterr().err
    words = ("--to", "csv", "--spacing", "100,100", "--unit", "nm", "--overwrite")
    assert say(monkeypatch, "export", run, *words) == 0
    assert pd.read_csv(run / "exports" / "instances.csv")["area_µm²"][0] == pytest.approx(0.36)
    for wrong in ("wide", "0,25,0,25", "0,25", "0.25", "inf,1"):
        assert say(monkeypatch, "export", run, "--to", "csv", "--spacing", wrong) == 2
        assert f"--spacing: got {wrong!r}, expected 2 or 3 pos" in capsys.readouterr().err
    assert say(monkeypatch, "export", tmp_path / "job", "--to", "csv") == 2
    assert f"give {run}" in capsys.readouterr().err


@pytest.mark.parametrize("ndim", [2, 3])
def test_intensities_are_those_of_the_raw_images(ndim: int, tmp_path: Path) -> None:
    shape, images = ((20, 20) if ndim == 2 else (4, 20, 20)), tmp_path / "images"
    raw = np.random.default_rng(0).integers(0, 999, (2, *shape, 2), np.uint16)
    for name, image in zip("ab", raw, strict=True):
        write_tiff(images / f"{name}.tif", image, "YXC" if ndim == 2 else "ZYXC")
    patch = [*(16 for _ in shape), 2]
    keys = {"DATA.TEST.PATH": str(images), "DATA.PATCH_SIZE": patch}
    run = make_run(tmp_path, ndim, **keys)
    table = pd.read_csv(singula.export(run, "csv")[0])
    for name, image in zip("ab", raw, strict=True):
        item = find_sources(run)[0].read()
        expected = singula.measure(item.labels, image)
        rows = table[table["image"] == name].reset_index(drop=True)
        names = [column for column in expected if column.startswith("intensity")]
        assert len(names) == 10
        pd.testing.assert_frame_equal(rows[names], expected[names])
        np.testing.assert_allclose(rows["axis_ratio"], expected["axis_ratio"])
    if ndim == 2:
        content = json.loads(singula.export(run, "qupath")[0].read_text())
        values = content["features"][0]["properties"]["measurements"]
        assert values["intensity_max_ch2"] == table["intensity_max_ch2"][0]


def test_a_run_without_its_images_is_exported_without_intensities(
    tmp_path: Path, messages: list[str]
) -> None:
    run = make_run(tmp_path, **{"DATA.TEST.PATH": str(tmp_path / "moved")})
    table = pd.read_csv(singula.export(run, "csv")[0])
    assert not [name for name in table if name.startswith("intensity")]
    assert sum("no intensities" in line for line in messages) == 2


def test_gray_values_and_masks_are_not_labels(tmp_path: Path, monkeypatch, capsys) -> None:
    made = make_image((96, 96), np.random.default_rng(1))
    image = np.squeeze(made.image)
    for name, array, words in (
        ("image", image, "expected a label image"),
        ("wide", image.astype(np.uint16) * 37, "expected a label image"),
        ("whole", image.astype(np.float32), "expected a label image"),
        ("mask", (made.labels > 0).astype(np.uint8) * 255, "got 1 value in"),
        ("map", made.labels / np.float32(2), "with a fraction"),
    ):
        write_tiff(tmp_path / f"{name}.tif", array, "YX")
        line = ("export", tmp_path / f"{name}.tif", "--to", "csv", "-o", tmp_path / "out")
        assert say(monkeypatch, *line) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(UserError, match="the array") as error:
        singula.export(image, "csv", tmp_path / "out")
    assert error.value.code == "labels.not_labels"
    assert not (tmp_path / "out").exists()
    write_tiff(tmp_path / "labels.tif", made.labels.astype(np.float32), "YX")
    (table,) = singula.export(tmp_path / "labels.tif", "csv", tmp_path / "out")
    assert len(pd.read_csv(table)) == np.count_nonzero(np.unique(made.labels))


@pytest.mark.parametrize("ndim", [2, 3])
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_objects_of_any_kind_are_labels(ndim: int, data: st.DataObject) -> None:
    """Accept boxes that hide or split each other, and single pixels."""
    labels = np.zeros((24,) * ndim, np.uint32)
    for number in range(data.draw(st.integers(0, 12))):
        corner = data.draw(st.lists(st.integers(0, 23), min_size=ndim, max_size=ndim))
        side = data.draw(st.integers(1, 9))
        labels[tuple(slice(c, c + side) for c in corner)] = 7 * number + 3
    check_ids("labels", labels)


def test_a_unit_needs_a_size(tmp_path: Path, monkeypatch, capsys) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:5, 2:5] = 1
    path = tmp_path / "plain.tif"
    write_tiff(path, labels, "YX")
    line = ("export", path, "--to", "csv", "--unit", "nm", "-o", tmp_path / "out")
    assert say(monkeypatch, *line) == 2
    assert "the pixel size of" in capsys.readouterr().err
    with pytest.raises(UserError, match="--unit") as error:
        singula.export(labels, "csv", tmp_path / "out", unit="nm")
    assert error.value.code == "export.unit_without_size"
    assert not (tmp_path / "out").exists()
    write_tiff(path, labels, "YX", (250.0, 250.0))
    assert say(monkeypatch, *line) == 0
    assert "area_µm²" in pd.read_csv(tmp_path / "out" / "instances.csv")
