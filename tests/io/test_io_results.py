"""The results folder of the format, moved paths, and the check that it is writable."""

from __future__ import annotations

from pathlib import Path

import pytest

from singula.errors import UserError
from singula.io.run_folder import ResultsTree

# The tree of the format, for /r/job and run 3.
EXPECTED = {
    "run": "results/job_3",
    "config_files": "config_files",
    "checkpoints": "checkpoints",
    "checkpoint_best": "checkpoints/job_3-checkpoint-best.pth",
    "checkpoint_last": "checkpoints/job_3-checkpoint-last.pth",
    "checkpoint_to_load": "checkpoints/job_3-checkpoint-best.pth",
    "mean_file": "checkpoints/normalization_mean_value.npy",
    "std_file": "checkpoints/normalization_std_value.npy",
    "per_image": "results/job_3/per_image",
    "per_image_instances": "results/job_3/per_image_instances",
    "per_image_post_processing": "results/job_3/per_image_post_processing",
    "full_image": "results/job_3/full_image",
    "full_image_instances": "results/job_3/full_image_instances",
    "full_image_post_processing": "results/job_3/full_image_post_processing",
    "as_3d_stack": "results/job_3/as_3d_stack",
    "as_3d_stack_post_processing": "results/job_3/as_3d_stack_post_processing",
    "instance_associations": "results/job_3/instance_associations",
    "aug": "results/job_3/aug",
    "charts": "results/job_3/charts",
    "loss_chart": "results/job_3/charts/job_3_loss.png",
    "model_plot": "results/job_3/charts/model_plot_job_3.png",
    "train_logs": "results/job_3/train_logs",
    "tensorboard": "results/job_3/tensorboard",
    "metrics_csv": "results/job_3/metrics.csv",
    "run_json": "results/job_3/run.json",
    "report_html": "results/job_3/report.html",
}


def test_tree_of_the_format() -> None:
    tree = ResultsTree(Path("/r/job"), "job", 3)
    assert {name: getattr(tree, name) for name in EXPECTED} == {
        name: Path("/r/job") / place for name, place in EXPECTED.items()
    }


def test_files_of_an_image() -> None:
    tree = ResultsTree("/r/job", "job", 3)
    run = Path("/r/job/results/job_3")
    associations = run / "instance_associations"
    assert tree.association_csv("a", 0.5) == associations / "a_th_0.5_gt_assoc.csv"
    assert tree.false_positives_csv("a", 0.75) == associations / "a_th_0.75_fp.csv"
    assert tree.association_image("a", 0.3) == associations / "a_th_0.3.tif"
    assert tree.full_stats("a") == run / "per_image_instances" / "a_full_stats.csv"
    assert tree.filtered_stats("a") == run / "per_image_post_processing" / "a_filtered_stats.csv"
    assert tree.full_stats("a", "full_image") == run / "full_image_instances" / "a_full_stats.csv"
    assert tree.overlay("a") == run / "overlays" / "a.png"
    assert tree.watershed("a") == run / "watershed" / "a"
    assert tree.watershed("a", "seed_map") == run / "watershed" / "a" / "seed_map.tif"
    assert tree.chart("jaccard") == run / "charts" / "job_3_jaccard.png"
    assert tree.config_file("/else/my.yaml") == Path("/r/job/config_files/my.yaml")
    assert tree.predictions("full_image") == run / "full_image"
    assert tree.post_processed("as_3d_stack") == run / "as_3d_stack_post_processing"


def test_moved_paths() -> None:
    tree = ResultsTree(
        "/r/{job}",
        "job",
        3,
        {
            "PATHS.RESULT_DIR.PATH": "/big/JOB_ID",
            "PATHS.CHARTS": "JOB_DIR/pictures_of_JOB_ID/JOB_ID",
            "PATHS.CHECKPOINT": "/weights/MY_JOB_IDS",
            "PATHS.CHECKPOINT_FILE": "",
            "LOG.LOG_DIR": "JOB_DIR/logs",
            "LOG.LOG_FILE_PREFIX": "JOB_ID-x",
        },
    )
    assert tree.run == Path("/big/job_3")
    assert tree.per_image == Path("/big/job_3/per_image")
    assert tree.loss_chart == Path("/r/{job}/pictures_of_JOB_ID/job_3/job_3_loss.png")
    assert tree.checkpoint_to_load == Path("/weights/MY_JOB_IDS/job_3-checkpoint-best.pth")
    assert tree.train_log == Path("/r/{job}/logs/job_3-x.csv")
    loaded = ResultsTree("/r", "job", 3, {"PATHS.CHECKPOINT_FILE": "/other/JOB_ID.pth"})
    assert loaded.checkpoint_to_load == Path("/other/job_3.pth")
    assert loaded.checkpoint_best == Path("/r/checkpoints/job_3-checkpoint-best.pth")


def test_a_job_named_like_a_placeholder() -> None:
    tree = ResultsTree("/JOB_ID/JOB_DIR", "JOB_DIR", 1, {"PATHS.CHARTS": "JOB_DIR/JOB_ID"})
    assert tree.charts == Path("/JOB_ID/JOB_DIR/JOB_DIR_1")


def test_prepare_creates_only_the_run_folder(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path / "new" / "job", "job", 1, {"PATHS.CHARTS": str(tmp_path / "c/d")})
    tree.prepare()
    tree.prepare()
    assert tree.run.is_dir()
    assert not list(tree.run.iterdir())
    assert {path.name for path in tree.job_dir.iterdir()} == {"results"}
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("blocked", ["job", "job/results", "job/results/job_1", "job/checkpoints"])
def test_prepare_with_a_file_in_the_way(tmp_path: Path, blocked: str) -> None:
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UserError, match="cannot be written") as caught:
        ResultsTree(tmp_path / "job", "job", 1).prepare()
    assert blocked in caught.value.message
    assert caught.value.code == "storage.forbidden"
    assert path.read_text() == "mine"


def test_prepare_checks_moved_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    tree = ResultsTree(tmp_path / "job", "job", 1, {"LOG.LOG_DIR": str(tmp_path / "file" / "logs")})
    with pytest.raises(UserError, match="file/logs: cannot be written"):
        tree.prepare()


def test_prepare_without_the_right_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"results/job_1: cannot be written \(Permission denied\)"):
        ResultsTree(tmp_path / "job", "job", 1).prepare()


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\\b", "..", ".", "a\0b"])
def test_names_that_are_not_file_names(name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        ResultsTree("/r", name, 1)


def test_negative_run() -> None:
    with pytest.raises(UserError, match="--run_id: got -1"):
        ResultsTree("/r", "job", -1)


def test_the_tree_of_a_run_that_was_moved(tmp_path: Path) -> None:
    run = tmp_path / "anywhere" / "my_cells" / "results" / "my_cells_12"
    tree = ResultsTree.of_run(run)
    assert tree.run == run
    assert tree.job_id == "my_cells_12"
    assert tree.checkpoint_best == run.parent.parent / "checkpoints" / (
        "my_cells_12-checkpoint-best.pth"
    )
    assert tree.train_log == run / "train_logs" / "my_cells_12.csv"


def test_the_tree_of_a_run_with_moved_paths(tmp_path: Path) -> None:
    moved = {
        "PATHS.RESULT_DIR.PATH": "/before/it/was/moved",
        "PATHS.RESULT_DIR.PER_IMAGE_INSTANCES": "JOB_DIR/labels/JOB_ID",
        "LOG.LOG_FILE_PREFIX": "log",
    }
    run = tmp_path / "out" / "results" / "now"
    tree = ResultsTree.of_run(run, "cells_3", moved)
    assert tree.metrics_csv == run / "metrics.csv"
    assert tree.per_image_instances == tmp_path / "out" / "labels" / "cells_3"
    assert tree.train_log == run / "train_logs" / "log.csv"
