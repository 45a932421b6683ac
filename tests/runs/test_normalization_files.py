"""The format's files of the mean and standard deviation, written and read at inference."""

from pathlib import Path

import numpy as np
import pytest
import torch

from singula.config import config_from_dict
from singula.errors import UserError
from singula.io.read import read_image, read_labels
from singula.pipeline.normalization import with_statistics
from singula.training.checkpoint import KEY, Checkpoint, write_checkpoint

CUSTOM = {"DATA.NORMALIZATION.TYPE": "custom"}
SET = {**CUSTOM, "DATA.NORMALIZATION.APPLICATION_MODE": "dataset"}
GIVEN = {**CUSTOM, "DATA.NORMALIZATION.CUSTOM_MEAN": 100, "DATA.NORMALIZATION.CUSTOM_STD": 30}


def files(folder: Path) -> list[Path]:
    return [folder / f"normalization_{name}_value.npy" for name in ("mean", "std")]


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ({"DATA.NORMALIZATION.TYPE": "div"}, False),
        ({"DATA.NORMALIZATION.TYPE": "scale_range"}, False),
        (
            {
                "DATA.NORMALIZATION.TYPE": "scale_range",
                "DATA.NORMALIZATION.APPLICATION_MODE": "dataset",
            },
            False,
        ),
        (CUSTOM, False),  # each image by its own mean
        (SET, True),
        (GIVEN, True),
    ],
    ids=["div", "range", "range of the set", "custom by image", "custom of the set", "given"],
)
def test_files_are_written_only_if_images_are_normalized_with_them(
    keys, written, command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **{**keys, "TRAIN.EPOCHS": 1, "TEST.ENABLE": False})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    found = [path.is_file() for path in files(tmp_path / "out" / "job" / "checkpoints")]
    assert found == [written, written]
    if keys is GIVEN:
        assert [np.load(p).tolist() for p in files(tmp_path / "out/job/checkpoints")] == [
            [100],
            [30],
        ]


def without_values(path: Path, *, whole: bool) -> None:
    """Remove the values, or the whole normalization, from a checkpoint."""
    contents = torch.load(path, weights_only=True)
    if whole:
        del contents[KEY]["normalizer"]
    else:
        contents[KEY]["normalizer"]["statistics"] = None
    write_checkpoint(contents, path)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_files_replace_values_missing_in_a_checkpoint(
    whole, blocks, command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **{**SET, "TRAIN.EPOCHS": 1, "TEST.BY_CHUNKS.ENABLE": blocks})
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    job = tmp_path / "out" / "job"
    suffix = ".zarr" if blocks else ".tif"
    maps = job / "results" / "job_1" / "per_image" / f"image_000{suffix}"
    before = read_image(maps, 2, 2).array
    for path in (job / "checkpoints").glob("*.pth"):
        without_values(path, whole=whole)
    again = ("run", "--config", config, *out, "--set", "TRAIN.ENABLE=False")
    assert command(*again) == 0, command.err
    assert "mean for normalization used" in command.out
    np.testing.assert_array_equal(read_image(maps, 2, 2).array, before)
    # Other values in the files give other maps: they are what is read.
    mean, _ = files(job / "checkpoints")
    np.save(mean, np.load(mean) + 40)
    assert command(*again) == 0, command.err
    assert np.abs(read_image(maps, 2, 2).array - before).max() > 1e-3
    mean.unlink()
    assert command(*again) == 2
    assert "normalization_mean_value.npy" in command.err


def test_a_difference_is_reported_and_the_checkpoint_is_used(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **{**SET, "TRAIN.EPOCHS": 1})
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    assert "which is used" not in command.out
    labels = tmp_path / "out/job/results/job_1/per_image_instances/image_000.tif"
    before = read_labels(labels, 2).array
    _, std = files(tmp_path / "out" / "job" / "checkpoints")
    np.save(std, np.load(std) * 2)
    assert command("run", "--config", config, *out, "--set", "TRAIN.ENABLE=False") == 0
    line = next(line for line in command.out.splitlines() if "which is used" in line)
    assert "normalization_std_value.npy" in line
    np.testing.assert_array_equal(read_labels(labels, 2).array, before)


def lacking(folder: Path, **normalizer: object) -> Checkpoint:
    values = {"kind": "custom", "per_image": False, "clip": None, "statistics": None, **normalizer}
    return Checkpoint(folder / "job_1-checkpoint-best.pth", 1, {}, {"normalizer": values})


def test_files_in_other_folders_and_unreadable_files(tmp_path) -> None:
    plain = config_from_dict({"TRAIN.ENABLE": True, **SET})
    checkpoint = lacking(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError) as error:
        with_statistics(plain, checkpoint)
    assert error.value.code == "normalization.no_statistics"
    mean, std = files(tmp_path / "checkpoints")
    np.save(std, np.array([2.0, 3.0]))
    for contents in (b"not an array", b""):
        mean.write_bytes(contents)
        with pytest.raises(UserError) as error:
            with_statistics(plain, checkpoint)
        assert error.value.code == "normalization.unreadable_file"
    np.save(mean, np.array([np.nan]))
    with pytest.raises(UserError) as error:
        with_statistics(plain, checkpoint)
    assert error.value.code == "normalization.unreadable_file"
    np.save(tmp_path / "elsewhere.npy", np.float64(7))  # one number without any axis
    moved = config_from_dict(
        {"TRAIN.ENABLE": True, **SET, "PATHS.MEAN_INFO_FILE": "JOB_DIR/elsewhere.npy"}
    )
    found = with_statistics(moved, checkpoint).description["normalizer"]["statistics"]
    assert found == {"mean": [7.0], "std": [2.0, 3.0]}
    # The input is left as it was.
    assert checkpoint.description["normalizer"]["statistics"] is None


@pytest.mark.parametrize("values", [{"kind": "div"}, {"per_image": True}, {"kind": "scale_range"}])
def test_unused_files_of_another_training_are_not_read(
    values, tmp_path, messages: list[str]
) -> None:
    for path in files(tmp_path):
        path.write_bytes(b"left behind")
    checkpoint = lacking(tmp_path, **values)
    plain = config_from_dict({"TRAIN.ENABLE": True})
    found = with_statistics(plain, checkpoint)
    assert found.description["normalizer"] == checkpoint.description["normalizer"]
    assert not messages
