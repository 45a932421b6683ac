"""Whole runs through the command line, from a YAML file to scored instances."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from selection import fast_first

from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff


def run_folder(tmp_path: Path, name: str = "job", run_id: int = 1) -> Path:
    return tmp_path / "out" / name / "results" / f"{name}_{run_id}"


def test_a_run_writes_the_results_folder(command, write_config, data_2d, tmp_path) -> None:
    config = write_config(data_2d, **{"PROBLEM.INSTANCE_SEG.DATA_CHECK_MW": True})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    job, folder = tmp_path / "out" / "job", run_folder(tmp_path)
    assert (job / "config_files" / "job.yaml").read_text() == config.read_text()
    assert {p.name for p in (job / "checkpoints").glob("[!.]*")} == {
        "job_1-checkpoint-best.pth",
        "job_1-checkpoint-last.pth",
    }
    images = sorted(p.stem for p in (data_2d / "test" / "x").iterdir())
    for name in images:
        maps = read_image(folder / "per_image" / f"{name}.tif", 2, 2)
        labels = read_labels(folder / "per_image_instances" / f"{name}.tif", 2).array[..., 0]
        assert maps.spatial_shape == labels.shape == (96, 96)
        assert 0 <= maps.array.min() <= maps.array.max() <= 1
        ids = np.unique(labels)
        assert (ids == np.arange(len(ids))).all()
        for part in ("seed_map", "foreground", "semantic", "watershed"):
            assert (folder / "watershed" / name / f"{part}.tif").is_file()
        association = folder / "instance_associations"
        truth = read_labels(data_2d / "test" / "y" / f"{name}.tif", 2).array
        for threshold in (0.3, 0.5):
            rows = pd.read_csv(association / f"{name}_th_{threshold}_gt_assoc.csv")
            assert list(rows.columns) == ["gt_id", "pred_id", "iou", "tag"]
            assert sorted(rows.gt_id) == [i for i in np.unique(truth) if i]
            assert (association / f"{name}_th_{threshold}_fp.csv").is_file()
        assert tifffile.imread(association / f"{name}_th_0.3.tif").shape == (96, 96, 3)
        assert not (association / f"{name}_th_0.5.tif").exists()
        assert (folder / "overlays" / f"{name}.png").is_file()
    for chart in ("loss", "iou_B", "iou_C"):
        assert (folder / "charts" / f"job_1_{chart}.png").is_file()
    assert len(pd.read_csv(folder / "train_logs" / "job_1.csv")) == 2
    assert any((folder / "tensorboard").iterdir())
    summary = json.loads((folder / "run.json").read_text())
    assert summary["configuration"]["TRAIN.EPOCHS"] == 2
    assert summary["seconds"]["training"] > 0
    assert set(summary["peak_memory_mb_after"]) == {"start", "training", "test"}
    page = (folder / "report.html").read_text()
    maps = 2  # B and C of the image with the lowest score
    assert page.count("<img") == 4 * len(images) + maps
    assert "What is missing here" not in page
    assert f"report: {folder / 'report.html'}" in command.out
    assert not list((tmp_path / "out").rglob("*.part*"))
    assert "F1 mean" in command.out
    assert "per patch" in command.out


@pytest.mark.slow
def test_metrics_table_agrees_with_the_files(command, write_config, data_2d, tmp_path) -> None:
    config = write_config(data_2d)
    command("run", "--config", config, "--result_dir", tmp_path / "out")
    folder = run_folder(tmp_path)
    table = pd.read_csv(folder / "metrics.csv")
    assert set(table.image) == {
        "image_000",
        "image_001",
        "mean over images",
        "pooled over objects",
    }
    for _, row in table[table.image.str.startswith("image")].iterrows():
        stem = f"{row.image}_th_{row.threshold}"
        truth = pd.read_csv(folder / "instance_associations" / f"{stem}_gt_assoc.csv")
        false = pd.read_csv(folder / "instance_associations" / f"{stem}_fp.csv")
        assert row.tp == (truth.tag == "TP").sum()
        assert row.fn == (truth.tag == "FN").sum()
        assert row.fp == len(false)
    pooled = table[(table.image == "pooled over objects") & (table.threshold == 0.3)].iloc[0]
    single = table[table.image.str.startswith("image") & (table.threshold == 0.3)]
    assert pooled.tp == single.tp.sum()
    assert {"per_patch_iou_B", "per_image_iou_B", "per_image_iou_C"} <= set(table.columns)


@pytest.mark.slow
def test_command_lines_of_the_format_work(command, write_config, data_2d, tmp_path) -> None:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 1, "SYSTEM.SEED": 0})
    out = tmp_path / "out"
    long = ("--config", config, "--result_dir", out, "--name", "long", "--run_id", 1)
    assert command(*long, "--gpu", "cpu", program="biapy") == 0, command.err
    short = ("-cfg", config, "-rdir", out, "-name", "short", "-rid", 2, "-gpu", "cuda:0")
    assert command(*short, program="biapy") == 0, command.err
    assert (run_folder(tmp_path, "short", 2) / "metrics.csv").is_file()
    if not torch.cuda.is_available():
        assert "ATTENTION: --gpu 'cuda:0'" in command.out
    # The two differ in name and run id only: equal seeds give equal weights, bit by bit.
    one, two = (
        torch.load(out / n / "checkpoints" / f"{n}_{i}-checkpoint-last.pth", weights_only=True)
        for n, i in (("long", 1), ("short", 2))
    )
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name])


@pytest.mark.parametrize(
    "channels", fast_first(["BP", "BCDv2", "BD", "BCM", "BCD", "BDv2", "Dv2"], 2)
)
def test_every_configuration_runs(channels, command, write_config, data_2d, tmp_path) -> None:
    config = write_config(
        data_2d, **{"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": channels, "TRAIN.EPOCHS": 1}
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    table = pd.read_csv(run_folder(tmp_path) / "metrics.csv")
    expected = {"D": "mae_D", "P": "iou_P", "M": "iou_M"}
    for letter, column in expected.items():
        if letter in channels.replace("Dv2", ""):
            assert f"per_image_{column}" in table
    if "Dv2" in channels:
        assert "per_image_mae_Dv2" in table


def test_volumes_with_anisotropic_voxels(command, write_config, data_3d, tmp_path) -> None:
    config = write_config(
        data_3d,
        3,
        **{
            "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BCD",
            "DATA.TRAIN.RESOLUTION": "(2, 1, 1)",
            "DATA.VAL.RESOLUTION": "(2, 1, 1)",
            "DATA.TEST.RESOLUTION": "(2, 1, 1)",
            "AUGMENTOR.ZFLIP": True,
            "AUGMENTOR.RANDOM_ROT": True,
        },
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    stored = read_labels(run_folder(tmp_path) / "per_image_instances" / "image_000.tif", 3)
    assert (
        " of 12, with the most labeled pixels" in (run_folder(tmp_path) / "report.html").read_text()
    )
    assert stored.spatial_shape == (12, 48, 48)
    assert stored.spacing == pytest.approx((2.0, 1.0, 1.0))


def test_classes(command, write_config, data_classes, tmp_path) -> None:
    config = write_config(data_classes, **{"MODEL.N_CLASSES": 4, "TRAIN.EPOCHS": 3})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    folder = run_folder(tmp_path)
    both = read_labels(folder / "per_image_instances" / "image_000.tif", 2, classes=True).array
    assert both.shape == (96, 96, 2)
    for number in np.unique(both[..., 0])[1:]:
        assert len(np.unique(both[..., 1][both[..., 0] == number])) == 1
    assert (both[..., 1][both[..., 0] == 0] == 0).all()
    assert read_image(folder / "per_image" / "image_000.tif", 2, 3).array.shape[-1] == 3


@pytest.mark.slow
def test_predictions_are_reused_with_other_thresholds(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d)
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0
    folder = run_folder(tmp_path)
    before = (folder / "per_image" / "image_000.tif").stat().st_mtime_ns
    (tmp_path / "out" / "job" / "checkpoints" / "job_1-checkpoint-best.pth").unlink()
    (tmp_path / "out" / "job" / "checkpoints" / "job_1-checkpoint-last.pth").unlink()
    again = (
        "run", "--config", config, *out,
        "--set", "TRAIN.ENABLE=False",
        "--set", "TEST.REUSE_PREDICTIONS=True",
        "--set", "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE=100000",
    )  # fmt: skip
    # No network is needed any more: the checkpoints are gone.
    assert command(*again) == 0, command.err
    assert (folder / "per_image" / "image_000.tif").stat().st_mtime_ns == before
    assert read_labels(folder / "per_image_instances" / "image_000.tif", 2).array.max() == 0


@pytest.mark.slow
def test_prediction_without_truth_and_in_another_run(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d)
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0
    best = tmp_path / "out" / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    alone = (
        "run", "--config", config, *out, "--run_id", 2,
        "--set", "TRAIN.ENABLE=False", "--set", "DATA.TEST.LOAD_GT=False",
        "--set", f"PATHS.CHECKPOINT_FILE={best}",
    )  # fmt: skip
    assert command(*alone) == 0, command.err
    first, second = (
        read_labels(run_folder(tmp_path, run_id=i) / "per_image_instances/image_001.tif", 2).array
        for i in (1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not (run_folder(tmp_path, run_id=2) / "metrics.csv").exists()
    assert "There are no scores" in (run_folder(tmp_path, run_id=2) / "report.html").read_text()


@pytest.mark.parametrize("blocks", fast_first([False, True]))
def test_a_training_is_kept_if_all_test_images_fail(
    blocks: bool, command, write_config, data_2d, tmp_path
) -> None:
    images = Path(shutil.copytree(data_2d / "test", tmp_path / "bad"))
    for path in (images / "x").iterdir():
        write_tiff(path, np.full(read_image(path, 2).spatial_shape, np.nan, np.float32), "YX")
    keys = {"DATA.TEST.PATH": str(images / "x"), "DATA.TEST.GT_PATH": str(images / "y")}
    config = write_config(data_2d, **keys, **{"TRAIN.EPOCHS": 1, "TEST.BY_CHUNKS.ENABLE": blocks})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 2
    assert "none of 2 test images could be processed: image_000, image_001" in command.err
    # Once for each image; blocks read only a part of an image before they refuse it.
    found = "at least 1 NaN value" if blocks else "216 NaN values"
    assert (command.out + command.err).count(found) == 2
    run = run_folder(tmp_path)
    summary = json.loads((run / "run.json").read_text())
    assert set(summary["test"]["failed"]) == {"image_000", "image_001"}
    assert summary["training"]["epochs"] == 1
    assert "image_001" in (run / "report.html").read_text()
    assert command("report", run) == 0, command.err


def test_full_image_and_augmented_prediction(command, write_config, data_2d, tmp_path) -> None:
    config = write_config(
        data_2d, **{"TEST.FULL_IMG": True, "TEST.AUGMENTATION": True, "TRAIN.EPOCHS": 1}
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    folder = run_folder(tmp_path)
    assert read_image(folder / "full_image" / "image_000.tif", 2, 2).spatial_shape == (96, 96)
    assert (folder / "full_image_instances" / "image_000.tif").is_file()
    table = pd.read_csv(folder / "metrics.csv")
    assert set(table["view"]) == {"per_image", "full_image"}
    assert "full_image_iou_B" in table


@pytest.mark.slow
def test_custom_normalization_is_stored_and_reused(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(
        data_2d,
        **{
            "DATA.NORMALIZATION.TYPE": "custom",
            "DATA.NORMALIZATION.APPLICATION_MODE": "dataset",
            "TRAIN.EPOCHS": 1,
        },
    )
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    mean, std = (
        np.load(tmp_path / "out/job/checkpoints" / f"normalization_{n}_value.npy")
        for n in ("mean", "std")
    )
    files = sorted((data_2d / "train" / "x").iterdir())
    pixels = np.concatenate([read_image(f, 2, 1).array.ravel() for f in files]).astype(float)
    assert mean == pytest.approx(pixels.mean())
    assert std == pytest.approx(pixels.std())
    labels = read_labels(run_folder(tmp_path) / "per_image_instances/image_000.tif", 2).array
    assert command("run", "--config", config, *out, "--set", "TRAIN.ENABLE=False") == 0
    again = read_labels(run_folder(tmp_path) / "per_image_instances/image_000.tif", 2).array
    np.testing.assert_array_equal(labels, again)


@pytest.mark.slow
def test_validation_held_out_from_training_images(command, write_config, data_2d, tmp_path) -> None:
    config = write_config(
        data_2d,
        **{"DATA.VAL.FROM_TRAIN": True, "DATA.VAL.SPLIT_TRAIN": 0.34, "TRAIN.EPOCHS": 1},
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    assert "held out for validation: 1 of 3 training images" in command.out


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_small_data_set_with_the_fraction_of_a_template(
    ndim, command, write_config, data_2d, data_3d, tmp_path
) -> None:
    shape, data = ((96, 96), data_2d) if ndim == 2 else ((8, 48, 48), data_3d)
    keys = {
        "DATA.VAL.FROM_TRAIN": True,
        "DATA.PATCH_SIZE": str((*shape, 1)),
        "DATA.TEST.PADDING": str((0,) * ndim),
        "TRAIN.EPOCHS": 1,
    }
    config, out = write_config(data, ndim, **keys), ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    assert "held out for validation: 1 of 3 training images" in command.out
    assert "one whole image is held out" in command.out
    # The search for thresholds finds the same image again.
    assert command("tune", run_folder(tmp_path)) == 0, command.err


def test_resume_continues_and_a_new_training_keeps_the_earlier_one(
    command, write_config, data_2d, tmp_path
) -> None:
    config, out = write_config(data_2d), ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0
    assert command("run", "--config", config, *out, "--resume", "--set", "TRAIN.EPOCHS=3") == 0
    assert "resuming after epoch 2 of 3" in command.out
    assert len(pd.read_csv(run_folder(tmp_path) / "train_logs" / "job_1.csv")) == 3
    assert command("run", "--config", config, *out) == 0
    kept = tmp_path / "out" / "job" / "checkpoints" / "job_1-checkpoint-best.previous.pth"
    assert kept.is_file()
    assert "new training" in command.out


@pytest.mark.slow
def test_constant_images_and_ranges_far_from_one_are_named(
    command, write_config, data_2d, tmp_path
) -> None:
    images = Path(shutil.copytree(data_2d, tmp_path / "flat"))
    for part in ("train", "test"):
        for path in (images / part / "x").iterdir():
            array = read_image(path, 2).array[..., 0].astype(np.float32)
            array = array * 0 + 5e-9 if path.stem == "image_000" else array * np.float32(2.0**-40)
            write_tiff(path, array, "YX")
    div = {"DATA.NORMALIZATION.TYPE": "div", "TRAIN.EPOCHS": 1}
    for name, changes, known in (("scale", {"TRAIN.EPOCHS": 1}, 0), ("div", div, 1)):
        config = write_config(images, name=f"{name}.yaml", **changes)
        assert command("run", "--config", config, "--result_dir", tmp_path / name) == 0
        assert command.out.count("image_000: every pixel is") == 1
        assert command.out.count("image_000.tif: every pixel is") == 1
        assert command.out.count("TYPE div: got float images") == known
    assert command("check", images) == 1
    assert "with a single value" in command.out
