"""Repeated runs with changes never reuse outdated results."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from selection import fast_first

from singula.io.read import read_image

SEG = "PROBLEM.INSTANCE_SEG"


def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "out" / "job" / "results" / "job_1"


@pytest.fixture
def trained(command, run_once, write_config, data_2d, tmp_path):
    """Return a function that tests a trained job again with changed keys."""
    data = tmp_path / "data"
    shutil.copytree(data_2d, data)
    config = write_config(data, **{"TRAIN.EPOCHS": 3, f"{SEG}.DATA_MW_TH_TYPE": "manual"})
    out = ("--result_dir", run_once("manual_3", config, tmp_path / "out"))

    def again(*changes: str, train: bool = False) -> int:
        words = [w for c in (f"TRAIN.ENABLE={train}", *changes) for w in ("--set", c)]
        return command("run", "--config", config, *out, *words)

    return again


@pytest.mark.parametrize(
    ("change", "words"),
    fast_first(
        [
            (f"{SEG}.DATA_CHANNELS=BP", f"{SEG}.DATA_CHANNELS: 'BC' in training, 'BP' configured"),
            ("MODEL.ACTIVATION=RELU", "MODEL.ACTIVATION: 'elu' in training, 'relu' configured"),
            ("DATA.NORMALIZATION.TYPE=div", "'scale_range' in training, 'div' configured"),
        ]
    ),
)
def test_a_checkpoint_of_another_configuration_is_refused(change, words, trained, command) -> None:
    assert trained(change) == 2
    assert "was trained with another configuration" in command.err
    assert words in command.err


@pytest.mark.slow
def test_a_test_without_instances_suggests_remedies(trained, command, tmp_path) -> None:
    assert trained(f"{SEG}.DATA_MW_TH_BINARY_MASK=0.9999") == 0
    assert "ATTENTION: no instance was found in any image" in command.out
    assert f"singula tune {run_folder(tmp_path)}" in command.out
    assert trained(f"{SEG}.DATA_MW_TH_CONTOUR=0.99", f"{SEG}.DATA_MW_TH_BINARY_MASK=0.1") == 0
    assert "ATTENTION" not in command.out


@pytest.mark.slow
def test_stored_maps_are_reused_only_for_equal_images_and_weights(
    trained, command, tmp_path
) -> None:
    reuse = "TEST.REUSE_PREDICTIONS=True"
    maps = run_folder(tmp_path) / "per_image" / "image_000.tif"
    assert trained() == 0  # records of maps contain the paths of the images, which were copied
    first = read_image(maps, 2, 2).array
    assert trained(reuse) == 0
    assert "2 of 2 maps reused" in command.out
    assert "predicting with" not in command.out

    other = tmp_path / "data/test/x/image_000.tif"
    tifffile.imwrite(other, np.flip(tifffile.imread(other), 0))
    assert trained(reuse) == 0
    assert "1 of 2 maps reused" in command.out
    assert "1 are predicted again" in command.out
    second = read_image(maps, 2, 2).array
    assert not np.array_equal(first, second)

    assert trained(reuse, "TRAIN.LR=0.002", train=True) == 0
    assert "0 of 2 maps reused" in command.out
    assert not np.array_equal(second, read_image(maps, 2, 2).array)

    maps.with_name("image_001.tif").write_bytes(maps.read_bytes())
    assert trained(reuse) == 0
    assert "1 of these have no record of the image and the weights" in command.out


def test_results_of_an_earlier_test_do_not_mix_with_the_new_ones(
    trained, command, tmp_path
) -> None:
    run = run_folder(tmp_path)
    assert trained("TEST.POST_PROCESSING.CLEAR_BORDER=True") == 0
    assert (run / "per_image_post_processing").is_dir()
    assert trained() == 0
    assert "earlier test of this run are now in" in command.out
    assert not (run / "per_image_post_processing").exists()
    assert (run / "previous" / "per_image_post_processing" / "image_000.tif").is_file()
    associations = [path.name for path in (run / "instance_associations").iterdir()]
    assert not [name for name in associations if "post_processing" in name]
    # With --resume what is done stays where it is.
    assert sorted(p.name for p in (run / "per_image_instances").glob("*.tif")) == [
        "image_000.tif",
        "image_001.tif",
    ]


def test_mistakes_of_the_test_are_found_before_training(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d)
    for change in (
        f"DATA.TEST.PATH={tmp_path / 'nowhere'}",
        f"DATA.TEST.GT_PATH={data_2d / 'val/y'}",
    ):
        code = command("run", "--config", config, "--result_dir", tmp_path / "out", "--set", change)
        assert code == 2
        assert "DATA.TEST" in command.err
        assert "epoch 1/" not in command.out


@pytest.mark.slow
def test_an_incomplete_stack_is_an_error(command, write_config, data_2d, tmp_path) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_2d, data)
    config = write_config(data, **{"TRAIN.EPOCHS": 1, "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": True})
    line = ("run", "--config", config, "--result_dir", tmp_path / "out")
    assert command(*line) == 0, command.err
    small = tifffile.imread(data / "test/x/image_001.tif")[:64]
    for folder in ("x", "y"):
        tifffile.imwrite(data / "test" / folder / "image_001.tif", small)
    assert command(*line) == 2
    assert "images differ in size" in command.err
    assert "epoch 1/" not in command.out
    (data / "test/x/image_001.tif").write_bytes(b"II*\0 not an image")
    assert command(*line) == 2
    assert "expected all slices of the stack" in command.err


@pytest.mark.slow
def test_any_padding_works_with_any_depth_of_network(
    command, write_config, data_3d, tmp_path
) -> None:
    config = write_config(
        data_3d, 3, **{"DATA.PATCH_SIZE": "(8, 32, 32, 1)", "MODEL.FEATURE_MAPS": [4, 4, 4, 4],
                       "MODEL.Z_DOWN": [2, 2, 2], "MODEL.DROPOUT_VALUES": [0, 0, 0, 0],
                       "DATA.TEST.PADDING": "(2, 14, 8)", "TRAIN.EPOCHS": 1},
    )  # fmt: skip
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
