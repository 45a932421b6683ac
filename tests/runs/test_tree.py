"""The complete folder tree of the format after five runs of a job."""

from pathlib import Path

import pytest

from singula.io.read import read_image, read_labels

TREE = """
aug/*.tif
aug/*.png
charts/job_N_loss.png
charts/job_N_iou_B.png
charts/model_plot_job_N.png
per_image/*.tif
per_image_instances/*.tif
per_image_instances/*_full_stats.csv
per_image_post_processing/*.tif
per_image_post_processing/*_filtered_stats.csv
full_image/*.tif
full_image_instances/*.tif
full_image_post_processing/*.tif
instance_associations/*.tif
instance_associations/*_gt_assoc.csv
instance_associations/*_fp.csv
watershed/*/seed_map.tif
watershed/*/foreground.tif
watershed/*/semantic.tif
watershed/*/watershed.tif
train_logs/*
tensorboard/*
metrics.csv
report.html
run.json
"""


@pytest.mark.slow
def test_five_runs_write_the_tree_of_the_format(command, write_config, data_2d, tmp_path) -> None:
    post = "TEST.POST_PROCESSING"
    config = write_config(
        data_2d,
        **{
            "PROBLEM.INSTANCE_SEG.DATA_CHECK_MW": True,
            "DATA.NORMALIZATION.TYPE": "custom",
            "DATA.NORMALIZATION.APPLICATION_MODE": "dataset",
            "TEST.FULL_IMG": True,
            "TRAIN.EPOCHS": 1,
            f"{post}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.ENABLE": True,
            f"{post}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.PROPS": [["npixels"]],
            f"{post}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.VALUES": [[20]],
            f"{post}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.SIGN": [["lt"]],
        },
    )
    for number in range(1, 6):
        line = ("run", "--config", config, "--result_dir", tmp_path / "out", "--run_id", number)
        assert command(*line) == 0, command.err
    job: Path = tmp_path / "out" / "job"
    assert (job / "config_files" / "job.yaml").is_file()
    for kind in ("mean", "std"):
        assert (job / "checkpoints" / f"normalization_{kind}_value.npy").is_file()
    assert {p.name for p in (job / "results").iterdir()} == {f"job_{n}" for n in range(1, 6)}
    for number in range(1, 6):
        assert (job / "checkpoints" / f"job_{number}-checkpoint-best.pth").is_file()
        run = job / "results" / f"job_{number}"
        for pattern in TREE.split():
            assert list(run.glob(pattern.replace("job_N", f"job_{number}"))), pattern
    # The samples show a patch before and after, as images of the patch's size.
    first = job / "results" / "job_1" / "aug"
    assert read_image(first / "00_x_before.tif", 2, 1).spatial_shape == (64, 64)
    assert read_labels(first / "00_y_after.tif", 2).spatial_shape == (64, 64)
