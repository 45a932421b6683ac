"""A configured voxel size replaces that of the files everywhere, with a message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from singula.inference import files as loaded_files
from singula.io.read import read_image, read_labels
from singula.io.units import infer_unit, replaced_size
from singula.io.write import write_tiff
from singula.measure import additional_columns, measure_instances

SET, IN_FILE = "(0.4, 0.2)", "(0.5, 0.5) µm"


@pytest.fixture
def sized(data_2d: Path, tmp_path: Path) -> Path:
    """Test images of 0.5 µm per pixel."""
    images = tmp_path / "sized"
    for path in (data_2d / "test" / "x").iterdir():
        write_tiff(images / path.name, read_image(path, 2, 1).array[..., 0], "YX", (0.5, 0.5), "µm")
    return images


@pytest.fixture
def run(command, write_config, data_2d, sized, tmp_path) -> Path:
    keys = {
        "DATA.TEST.PATH": str(sized),
        "DATA.TEST.RESOLUTION": SET,
        "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
        "PROBLEM.INSTANCE_SEG.ERODE_AND_DILATE_FOREGROUND": True,
        "TEST.POST_PROCESSING.MEASURE_PROPERTIES.ENABLE": True,
        "TRAIN.EPOCHS": 4,
    }
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    said = [line for line in command.out.splitlines() if f"{SET} is used instead" in line]
    assert len(said) == 1
    assert "DATA.TEST.RESOLUTION" in said[0]
    assert IN_FILE in said[0]
    assert command("check", "--config", config, "--no-timing") in (0, 1), command.err
    assert command.out.count(f"{SET} is used instead") == 1
    return tmp_path / "out" / "job" / "results" / "job_1"


@pytest.mark.slow
def test_voxel_size_of_a_run_and_of_a_prediction(
    run, sized, command, tmp_path, monkeypatch
) -> None:
    for path in sorted(sized.iterdir()):
        made = read_labels(run / "per_image_instances" / path.name, 2)
        assert made.spacing == pytest.approx((0.4, 0.2))
        maps = read_image(run / "per_image" / path.name, 2)
        assert maps.spacing == pytest.approx((0.4, 0.2))

    line = ("predict", sized, "--model", run, "--tables")
    assert command(*line, "-o", tmp_path / "as_the_run") == 0, command.err
    assert command.out.count("is used instead") == 1
    assert "--spacing" in command.out
    for path in sorted(sized.iterdir()):
        made = read_labels(run / "per_image_instances" / path.name, 2)
        found = read_labels(tmp_path / "as_the_run" / path.name, 2)
        np.testing.assert_array_equal(found.array, made.array)
        assert found.spacing == pytest.approx((0.4, 0.2))

    given = ("--spacing", "0.3,0.1", "--unit", "um")
    assert command(*line, "-o", tmp_path / "whole", *given) == 0, command.err
    assert command.out.count("--spacing: the voxel size (0.3, 0.1)") == 1
    monkeypatch.setattr(loaded_files, "available_memory", lambda config: 0)
    assert command(*line, "-o", tmp_path / "blocks", *given) == 0, command.err
    for path in sorted(sized.iterdir()):
        whole = read_labels(tmp_path / "whole" / path.name, 2)
        assert (whole.spacing, whole.unit) == (pytest.approx((0.3, 0.1)), "µm")
        blocks = read_labels(tmp_path / "blocks" / f"{path.stem}.zarr", 2)
        assert (blocks.spacing, blocks.unit) == (pytest.approx((0.3, 0.1)), "µm")
        np.testing.assert_array_equal(whole.array, blocks.array)
        for folder in ("whole", "blocks"):
            table = pd.read_csv(tmp_path / folder / f"{path.stem}_stats.csv")
            labels, spacing = whole.array[..., 0], (0.3, 0.1)
            image = read_image(sized / path.name, 2).array
            expected = measure_instances(labels, spacing=spacing)
            expected = expected.assign(**additional_columns(labels, image, spacing=spacing))
            expected = expected.rename(columns={"area": "area_µm²"})
            names = ["area_µm²", "axis_ratio", "intensity_mean", "intensity_sum", "intensity_std"]
            pd.testing.assert_frame_equal(
                table[names], expected[names], check_dtype=False, check_index_type=False
            )

    for wrong in (("--spacing", "1,1,1"), ("--spacing", "wide"), ("--unit", "µm")):
        assert command(*line, "-o", tmp_path / "wrong", *wrong) == 2
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("given", "spacing", "unit", "agrees", "replaced"),
    [
        ((0.3, 0.1, 0.1), (0.3, 0.1, 0.1), "µm", "µm", False),
        ((0.3, 0.1, 0.1), (300, 100, 100), "nm", "µm", False),
        ((0.3, 0.1, 0.1), (1.0, 0.1, 0.1), "µm", "µm", True),
        ((0.3, 0.1, 0.1), (1000, 100, 100), "nm", "µm", True),
        ((3, 1, 1), (0.3, 0.1, 0.1), "µm", None, True),
        ((3, 1, 1), (3, 1, 1), None, None, False),
        ((3, 1, 1), (3, 1, 1), "furlong", "furlong", False),
        ((3, 1, 1), None, None, None, False),
    ],
)
def test_equal_sizes_in_different_units(given, spacing, unit, agrees, replaced) -> None:
    """Sizes are compared as lengths with their units."""
    assert infer_unit(given, spacing, unit) == agrees
    assert (replaced_size("KEY", given, spacing, unit) is not None) == replaced


@pytest.mark.parametrize(
    ("given_unit", "replaced"), [("µm", True), ("nm", False), ("um", True), (None, False)]
)
def test_the_unit_of_a_set_size_counts(given_unit, replaced) -> None:
    """100 µm and 100 nm are different sizes; without a unit, the size is taken as the file's."""
    line = replaced_size("--spacing", (100, 100), (100, 100), "nm", given_unit)
    assert (line is not None) == replaced
    assert replaced_size("--spacing", (0.1, 0.1), (100, 100), "nm", "micron") is None
