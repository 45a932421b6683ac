"""Tests in blocks give the results of tests of whole images."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from selection import fast_first

from singula.blocks import JobFolder
from singula.gui.guard import Guard
from singula.gui.results import measurements, open_results
from singula.inference import files
from singula.io.block_array import BlockArray, mean, nearest
from singula.io.read import read_labels as read_labels_of
from singula.io.records.blocks import HaloErrorNote
from singula.io.write import write_tiff
from singula.labels import table_parts
from singula.prediction import tile_plan
from singula.report.build import build_report
from singula.report.objects import survey_objects
from singula.runs import images
from singula.synthetic.fluorescence import make_image
from singula.util import boxes
from singula.util.format import install_command

zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")

POST = "TEST.POST_PROCESSING"
SEG = "PROBLEM.INSTANCE_SEG"
REMOVAL = f"{POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
DATA = {
    "2d": "data_2d",
    "3d": "data_3d",
    "classes": "data_classes",
    "classes-3d": "data_classes_3d",
    "bp": "data_2d",
}
BLOCKS = {2: "(80, 64)", 3: "(16, 40, 48)"}
SHAPES = {2: (160, 200), 3: (24, 72, 88)}
MANUAL = (f"{SEG}.DATA_MW_TH_TYPE=manual", f"{SEG}.DATA_MW_TH_CONTOUR=0.3")


def large_images(folder: Path, ndim: int, n_classes: int = 1) -> Path:
    """Write one test image with cells in some of its blocks only."""
    made = make_image(SHAPES[ndim], np.random.default_rng(5), n_classes=n_classes)
    image, labels = made.image.copy(), made.labels.copy()
    empty = (slice(None),) * (ndim - 1) + (slice(SHAPES[ndim][-1] // 2, None),)
    image[(*empty[:-2], slice(0, SHAPES[ndim][-2] // 2), empty[-1])] = 0
    labels[(*empty[:-2], slice(0, SHAPES[ndim][-2] // 2), empty[-1])] = 0
    axes = "ZYX"[-ndim:]
    write_tiff(folder / "x" / "large.tif", image, axes, (2.0, 0.5, 0.5)[-ndim:], "µm")
    if made.classes is not None:
        classes = np.where(labels > 0, made.classes, 0).astype(np.uint16)
        labels, axes = np.stack([labels, classes], -1), axes + "C"
    write_tiff(folder / "y" / "large.tif", labels, axes)
    return folder


class _Stop(KeyboardInterrupt):
    pass


class Jobs:
    """A trained network, and its tests."""

    def __init__(self, command, config, folder, ndim, images) -> None:
        self.command, self.config, self.folder, self.ndim = command, config, folder, ndim
        self.images = images
        self.count = len(list((folder / "job" / "results").glob("job_*"))) + 1

    def words(self, *changes: str, chunks: bool, run_id: int) -> list[object]:
        job = self.folder / "job"
        keys = [
            "TRAIN.ENABLE=False",
            f"PATHS.CHECKPOINT_FILE={job / 'checkpoints' / 'job_1-checkpoint-best.pth'}",
            f"DATA.TEST.PATH={self.images / 'x'}",
            f"DATA.TEST.GT_PATH={self.images / 'y'}",
            *changes,
        ]
        if chunks:
            keys += [
                "TEST.BY_CHUNKS.ENABLE=True",
                f"TEST.BY_CHUNKS.BLOCK_SHAPE={BLOCKS[self.ndim]}",
            ]
        line = ["run", "--config", self.config, "--result_dir", self.folder, "--name", "job"]
        return [*line, "--run_id", run_id, *(w for k in keys for w in ("--set", k))]

    def test(self, *changes: str, chunks: bool, more: tuple[object, ...] = ()) -> Path:
        self.count += 1
        words = self.words(*changes, chunks=chunks, run_id=self.count)
        assert self.command(*words, *more) == 0, self.command.err + self.command.out
        return self.run(self.count)

    def run(self, run_id: int) -> Path:
        return self.folder / "job" / "results" / f"job_{run_id}"


@pytest.fixture
def jobs(request, command, run_once, make_once, write_config, tmp_path):
    kind = getattr(request, "param", "2d")
    ndim = 3 if kind.endswith("3d") else 2
    classes = kind.startswith("classes")
    data = request.getfixturevalue(DATA[kind])
    changes = {"TRAIN.EPOCHS": 8 if kind == "3d" else 20, "MODEL.FEATURE_MAPS": [6, 8]}
    if classes:
        changes["MODEL.N_CLASSES"] = 4
    if kind == "bp":
        changes["PROBLEM.INSTANCE_SEG.DATA_CHANNELS"] = "BP"
    config = write_config(data, ndim, **{"TEST.ENABLE": False, **changes})
    out = run_once(f"chunks_{kind}", config, tmp_path / "out")
    config = write_config(data, ndim, **changes)
    n_classes = 3 if classes else 1
    images = make_once(f"large_{kind}", lambda folder: large_images(folder, ndim, n_classes))
    return Jobs(command, config, out, ndim, images)


@pytest.fixture
def whole_halo(jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict small blocks of volumes with the full receptive field, at any cost."""
    if jobs.ndim == 3:
        monkeypatch.setattr(tile_plan, "_MAX_OVERHEAD", 1e9)


def read_labels(folder: Path, ndim: int) -> np.ndarray:
    path = folder / "large.zarr"
    if path.exists():
        return BlockArray.open(path).read_ids((slice(None),) * ndim)
    labels = tifffile.imread(folder / "large.tif")
    # The second channel is the class.
    return np.take(labels, 0, axis=-3) if labels.ndim > ndim else labels


def assert_same(whole: Path, chunks: Path, ndim: int) -> None:
    """Compare instances, tables and scores of two tests."""
    for name in ("per_image_instances", "per_image_post_processing"):
        assert (whole / name).exists() == (chunks / name).exists()
        if not (whole / name).exists():
            continue
        one, two = (read_labels(run / name, ndim) for run in (whole, chunks))
        assert one.max() > 3
        np.testing.assert_array_equal(one, two)
        for table in sorted(p.name for p in (whole / name).glob("*.csv")):
            # Blocks have no confidence.
            one, two = (
                pd.read_csv(run / name / table).drop(columns="confidence", errors="ignore")
                for run in (whole, chunks)
            )
            pd.testing.assert_frame_equal(one, two, rtol=1e-9)
    one, two = (pd.read_csv(run / "metrics.csv") for run in (whole, chunks))
    shared = [c for c in one.columns if "per_patch" not in c]
    pd.testing.assert_frame_equal(one[shared], two[shared], rtol=1e-6)
    for path in sorted((whole / "instance_associations").iterdir()):
        other = chunks / "instance_associations" / path.name
        if path.suffix == ".csv":
            pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(other))
        else:
            picture = BlockArray.open(other.with_suffix(".zarr")).read((slice(None),) * ndim)
            np.testing.assert_array_equal(tifffile.imread(path), picture)
    assert (chunks / "overlays" / "large.png").is_file()
    assert (chunks / "report.html").is_file()


@pytest.mark.parametrize("jobs", fast_first(["2d", "3d"]), indirect=True)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param((), marks=pytest.mark.slow),
        (*MANUAL, f"{SEG}.GROW_INTO_CONTOUR=True", f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE=25"),
        pytest.param(
            (
                *MANUAL,
                f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE=90",
                f"{SEG}.REMOVE_SMALL_OBJ_AT_BORDER=20",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (f"{POST}.VORONOI_ON_MASK=True", f"{POST}.CLEAR_BORDER=True"), marks=pytest.mark.slow
        ),
        (
            f"{POST}.REPARE_LARGE_BLOBS_SIZE=150",
            f"{POST}.MEASURE_PROPERTIES.ENABLE=True",
            f"{POST}.VORONOI_ON_MASK=True",
            f"{POST}.VORONOI_TH=0.6",
        ),
        (
            *MANUAL,
            f"{REMOVAL}.ENABLE=True",
            f"{REMOVAL}.PROPS=[['npixels']]",
            f"{REMOVAL}.VALUES=[[60]]",
            f"{REMOVAL}.SIGN=[['lt']]",
            f"{POST}.MEASURE_PROPERTIES.ENABLE=True",
        ),
    ],
    ids=["auto", "manual", "border", "voronoi", "repair", "properties"],
)
@pytest.mark.usefixtures("whole_halo")
def test_results_of_blocks_equal_those_of_whole_images(jobs, changes) -> None:
    whole = jobs.test(*changes, chunks=False)
    chunks = jobs.test(*changes, chunks=True)
    assert_same(whole, chunks, jobs.ndim)


@pytest.mark.usefixtures("whole_halo")
def test_tables_in_parts_equal_those_in_memory(jobs, monkeypatch) -> None:
    """Each step and each table that is computed instance by instance, with three ids in a part."""
    changes = (
        *MANUAL,
        f"{POST}.VORONOI_ON_MASK=True",
        f"{POST}.CLEAR_BORDER=True",
        f"{REMOVAL}.ENABLE=True",
        f"{REMOVAL}.PROPS=[['npixels']]",
        f"{REMOVAL}.VALUES=[[60]]",
        f"{REMOVAL}.SIGN=[['lt']]",
        f"{POST}.MEASURE_PROPERTIES.ENABLE=True",
    )
    whole = jobs.test(*changes, chunks=False)
    stored = []
    store = table_parts.TableParts._store
    monkeypatch.setattr(table_parts, "ROWS", 3)
    monkeypatch.setattr(
        table_parts.TableParts, "_store", lambda self: stored.append(self) or store(self)
    )
    chunks = jobs.test(*changes, chunks=True)
    assert stored
    assert_same(whole, chunks, jobs.ndim)
    assert not list(chunks.parent.rglob("*.rows"))


@pytest.mark.parametrize("jobs", fast_first(["classes", "classes-3d"]), indirect=True)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("TEST.BY_CHUNKS.SAVE_OUT_TIF=True", f"{POST}.MEASURE_PROPERTIES.ENABLE=True"),
        pytest.param(
            (f"{POST}.VORONOI_ON_MASK=True", f"{POST}.CLEAR_BORDER=True"), marks=pytest.mark.slow
        ),
    ],
    ids=["plain", "tiff", "processed"],
)
@pytest.mark.usefixtures("whole_halo")
def test_classes_of_instances_in_blocks(jobs, changes) -> None:
    """The second channel equals that of a test in memory, for every reader of results."""
    ndim, runs = jobs.ndim, [jobs.test(*changes, chunks=c) for c in (False, True)]
    whole, chunks = runs
    assert_same(whole, chunks, ndim)
    for folder in sorted(p.parent for p in whole.glob("per_image_*/large.tif")):
        expected = read_labels_of(folder / "large.tif", ndim, classes=True).array
        assert len(np.unique(expected[..., 1])) >= 3
        files = [*(chunks / folder.name).glob("large.tif"), chunks / folder.name / "large.zarr"]
        assert len(files) == 1 + ("SAVE_OUT_TIF" in "".join(changes))
        for path in files:
            found = read_labels_of(path, ndim, classes=True).array
            np.testing.assert_array_equal(found, expected)
            if path.suffix == ".tif":
                one, two = (tifffile.imread(p) for p in (folder / "large.tif", path))
                np.testing.assert_array_equal(one, two)
    guard = Guard.of([jobs.folder.parent])
    tables = [open_results(run, guard) for run in runs]
    stages = [found.run.stages[-1] for found in tables]
    one, two = (
        measurements(f.instances("large", s))[1] for f, s in zip(tables, stages, strict=True)
    )
    assert one == two
    assert len({row["class"] for row in one}) > 1
    for to in ("csv", "coco" if ndim == 2 else "imagej"):
        folders = [jobs.folder.parent / f"{run.name}-{to}" for run in runs]
        for run, folder in zip(runs, folders, strict=True):
            assert jobs.command("export", run, "--to", to, "-o", folder) == 0, jobs.command.err
        one, two = ({p.name: p.read_bytes() for p in f.rglob("*.*")} for f in folders)
        assert one == two
        assert one
    counted = [
        survey_objects(found.images, found.run.stages, stage)[stage.key].pred_classes
        for found, stage in zip(tables, stages, strict=True)
    ]
    assert len(counted[0]) > 1
    assert counted[0] == counted[1]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["classes"], indirect=True)
@pytest.mark.usefixtures("whole_halo")
def test_classes_of_instances_by_a_worker(jobs, tmp_path, monkeypatch) -> None:
    """A test and a prediction by workers write the class channel."""
    pytest.importorskip("distributed")
    whole = jobs.test(chunks=False)
    run = jobs.test(chunks=True, more=("--dask", "local:1"))
    expected = read_labels_of(whole / "per_image_instances" / "large.tif", 2, classes=True).array
    found = read_labels_of(run / "per_image_instances" / "large.zarr", 2, classes=True).array
    np.testing.assert_array_equal(found, expected)
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    line = ("predict", jobs.images / "x" / "large.tif", "--model", model)
    assert jobs.command(*line, "-o", tmp_path / "one") == 0, jobs.command.err
    assert jobs.command(*line, "-o", tmp_path / "two", "--dask", "local:1") == 0, jobs.command.err
    one, two = (
        read_labels_of(tmp_path / name, 2, classes=True).array
        for name in ("one/large.tif", "two/large.zarr")
    )
    np.testing.assert_array_equal(one, two)
    assert one[..., 1].any()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["bp"], indirect=True)
@pytest.mark.usefixtures("whole_halo")
def test_close_points_in_blocks(jobs) -> None:
    changes = (f"{POST}.REMOVE_CLOSE_POINTS=True", f"{POST}.REMOVE_CLOSE_POINTS_RADIUS=[3]")
    whole, chunks = (jobs.test(*changes, chunks=c) for c in (False, True))
    assert_same(whole, chunks, 2)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["3d"], indirect=True)
@pytest.mark.usefixtures("whole_halo")
def test_filters_and_masks_in_blocks(jobs, tmp_path) -> None:
    mask = np.zeros(SHAPES[3], np.uint8)
    mask[2:, 10:60, 12:] = 1
    write_tiff(tmp_path / "masks" / "large.tif", mask, "ZYX")
    changes = (
        f"{POST}.Z_FILTERING=True",
        f"{POST}.YZ_FILTERING=True",
        f"{POST}.YZ_FILTERING_SIZE=3",
        f"{POST}.APPLY_MASK=True",
        f"DATA.TEST.BINARY_MASKS={tmp_path / 'masks'}",
    )
    whole, chunks = (jobs.test(*changes, chunks=c) for c in (False, True))
    assert_same(whole, chunks, 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["(20, 17)", "(64, 64)"])
def test_blocks_smaller_than_the_receptive_field_give_the_same(jobs, shape) -> None:
    small = ("--set", f"TEST.BY_CHUNKS.BLOCK_SHAPE={shape}")
    whole, chunks = jobs.test(chunks=False), jobs.test(chunks=True, more=small)
    assert "receptive field" not in jobs.command.out
    maps = BlockArray.open(chunks / "per_image" / "large.zarr").read((slice(None),) * 2)
    expected = tifffile.imread(whole / "per_image" / "large.tif")
    np.testing.assert_allclose(maps, np.moveaxis(expected, 0, -1), atol=2e-5)
    assert_same(whole, chunks, 2)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["3d"], indirect=True)
def test_a_reduced_halo_is_reported_once(jobs, tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / "x").mkdir(exist_ok=True)
        shutil.copy(jobs.images / "x" / "large.tif", tmp_path / "x" / f"{name}.tif")
    keys = (
        f"DATA.TEST.PATH={tmp_path / 'x'}",
        "DATA.TEST.LOAD_GT=False",
        "TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 16, 16)",
    )
    jobs.test(chunks=True, more=tuple(word for key in keys for word in ("--set", key)))
    assert "[2/2] two" in jobs.command.out
    assert (
        jobs.command.out.count(
            "a halo of 5 × 8 × 8 pixels; the radius of the receptive field is 6 × 9 × 9"
        )
        == 1
    )
    for name in ("one", "two"):
        job = JobFolder(jobs.run(jobs.count) / "chunks" / name)
        error = job.read_note("halo-error", HaloErrorNote)
        assert error.corners == 3
        assert error.probabilities == 3 * 2 * 8**3
        assert 1e-3 < error.difference < 1
        assert error.changed < error.probabilities / 4
    jobs.test("TEST.TILE_SIZE=patch", chunks=True)
    assert "receptive field" not in jobs.command.out
    assert not (jobs.run(jobs.count) / "chunks" / "large" / "halo-error.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["3d"], indirect=True)
def test_tiles_of_the_patch_are_the_same_in_blocks(jobs) -> None:
    """With a halo smaller than the receptive field, the tiles must be equal."""
    keys = ("TEST.TILE_SIZE=patch", "DATA.TEST.OVERLAP=(0, 0.25, 0.25)")
    whole, chunks = (jobs.test(*keys, chunks=c) for c in (False, True))
    assert_same(whole, chunks, 3)


@pytest.mark.slow
def test_dask_workers_give_the_same_results(jobs) -> None:
    pytest.importorskip("distributed")
    alone, two = (
        jobs.test(*MANUAL, chunks=True, more=more) for more in ((), ("--dask", "local:2"))
    )
    one, other = (read_labels(run / "per_image_instances", 2) for run in (alone, two))
    np.testing.assert_array_equal(one, other)
    assert one.max() > 3
    first, second = ((run / "metrics.csv").read_text() for run in (alone, two))
    assert first == second


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.xdist_group("gpu")
@pytest.mark.parametrize("jobs", ["2d", "3d"], indirect=True)
@pytest.mark.parametrize("who", [(), ("--dask", "local:2")], ids=["alone", "workers"])
@pytest.mark.usefixtures("whole_halo")
def test_blocks_on_a_gpu_equal_whole_images_on_a_gpu(jobs, who) -> None:
    gpu = ("--gpu", "0")
    changes = (*MANUAL, f"{POST}.VORONOI_ON_MASK=True", f"{POST}.MEASURE_PROPERTIES.ENABLE=True")
    whole = jobs.test(*changes, chunks=False, more=gpu)
    chunks = jobs.test(*changes, chunks=True, more=(*gpu, *who))
    assert_same(whole, chunks, jobs.ndim)
    for run in (whole, chunks):
        assert json.loads((run / "run.json").read_text())["machine"]["device"] == "cuda"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a group of processes")
@pytest.mark.parametrize("victim", ["worker", "everything"])
def test_a_killed_worker_and_a_killed_run_do_not_change_results(jobs, victim) -> None:
    """The repeated command skips finished blocks, and gives the same result."""
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    alone = jobs.test(*MANUAL, chunks=True)
    jobs.count += 1
    words = jobs.words(*MANUAL, chunks=True, run_id=jobs.count)
    run = jobs.run(jobs.count)
    line = [sys.executable, "-c", "from singula.cli import main; main()", *map(str, words)]
    line += ["--dask", "local:2"]

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    process = start()
    records = run / "chunks" / "large" / "maps"
    until = time.monotonic() + 300
    while not list(records.rglob("[!.]*.npz")) and time.monotonic() < until:
        time.sleep(0.05)
    if victim == "worker":
        spawned = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        assert spawned
        spawned[-1].kill()
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = {path: path.stat().st_mtime_ns for path in records.rglob("[!.]*.npz")}
        assert done
        process = start()
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        assert "already predicted" in said
        assert {path: path.stat().st_mtime_ns for path in done} == done
    one, other = (read_labels(r / "per_image_instances", 2) for r in (alone, run))
    np.testing.assert_array_equal(one, other)
    assert (alone / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    summary = json.loads((run / "run.json").read_text())
    assert summary["test"]["instances"]["large"] == int(one.max())


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["2d", "classes"], indirect=True)
def test_a_run_interrupted_after_any_write_resumes_to_the_same(jobs, monkeypatch) -> None:
    """Each attempt ends two writes later, until the run is complete."""
    changes = (
        f"{POST}.REPARE_LARGE_BLOBS_SIZE=150",
        f"{POST}.VORONOI_ON_MASK=True",
        f"{POST}.CLEAR_BORDER=True",
        f"{POST}.MEASURE_PROPERTIES.ENABLE=True",
    )
    undisturbed = jobs.test(*changes, chunks=True)
    jobs.count += 1
    words = jobs.words(*changes, chunks=True, run_id=jobs.count)
    written, ended = 0, 0

    def after(write):
        def stopping(*arguments) -> None:
            nonlocal written
            write(*arguments)
            written += 1
            if written > ended:
                raise _Stop

        return stopping

    for name in ("save_table", "write_note"):
        monkeypatch.setattr(JobFolder, name, after(getattr(JobFolder, name)))
    while jobs.command(*words) == 130:
        ended, written = ended + 2, 0
    run = jobs.run(jobs.count)
    assert ended >= 16
    for folder in ("per_image_instances", "per_image_post_processing"):
        boxes = [BlockArray.open(r / folder / "large.zarr") for r in (undisturbed, run)]
        np.testing.assert_array_equal(*(b.read((slice(None),) * 2) for b in boxes))
        for table in (undisturbed / folder).glob("*.csv"):
            assert (run / folder / table.name).read_text() == table.read_text()
    assert (run / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()


@pytest.mark.slow
def test_other_thresholds_do_not_predict_again(jobs) -> None:
    first = jobs.test(*MANUAL, chunks=True)
    before = {p: p.stat().st_mtime_ns for p in (first / "chunks").rglob("maps/*/*.npz")}
    assert before
    words = jobs.words(f"{SEG}.DATA_MW_TH_TYPE=auto", "TEST.REUSE_PREDICTIONS=True",
                       chunks=True, run_id=jobs.count)  # fmt: skip
    assert jobs.command(*words) == 0, jobs.command.err
    assert {p: p.stat().st_mtime_ns for p in before} == before
    again = read_labels(first / "per_image_instances", 2)
    fresh = read_labels(
        jobs.test(f"{SEG}.DATA_MW_TH_TYPE=auto", chunks=True) / "per_image_instances", 2
    )
    np.testing.assert_array_equal(again, fresh)


@pytest.mark.slow
def test_maps_in_another_folder_are_predicted_again(jobs, tmp_path) -> None:
    """Records of the earlier maps must not pass for the maps of the new folder."""
    first = jobs.test(*MANUAL, chunks=True)
    expected = read_labels(first / "per_image_instances", 2)
    keys = (*MANUAL, "TEST.REUSE_PREDICTIONS=True", f"{SEG}.DATA_REMOVE_SMALL_OBJ=1")
    words = jobs.words(
        *keys, f"PATHS.RESULT_DIR.PER_IMAGE={tmp_path / 'moved'}", chunks=True, run_id=jobs.count
    )
    assert jobs.command(*words) == 0, jobs.command.err
    assert (tmp_path / "moved").is_dir()
    found = read_labels(first / "per_image_instances", 2)
    np.testing.assert_array_equal(found > 0, expected > 0)


@pytest.mark.slow
@pytest.mark.usefixtures("whole_halo")
def test_histograms_of_stored_maps_depend_on_the_mask(jobs, tmp_path) -> None:
    """Thresholds of the same maps depend on the mask and on the growth mask."""
    mask = np.zeros(SHAPES[2], np.uint8)
    mask[20:, 30:90] = 1
    write_tiff(tmp_path / "masks" / "large.tif", mask, "YX")
    first = jobs.test(*MANUAL, chunks=True)
    changes = (
        f"{SEG}.DATA_MW_TH_TYPE=auto",
        f"{POST}.VORONOI_ON_MASK=True",
        f"{POST}.VORONOI_TH=0",
        f"{POST}.APPLY_MASK=True",
        f"DATA.TEST.BINARY_MASKS={tmp_path / 'masks'}",
    )
    reuse = "TEST.REUSE_PREDICTIONS=True"
    words = jobs.words(*changes, reuse, chunks=True, run_id=jobs.count)
    assert jobs.command(*words) == 0, jobs.command.err
    assert "blocks already predicted" in jobs.command.out
    assert_same(jobs.test(*changes, chunks=False), first, 2)


@pytest.mark.slow
def test_a_repeated_test_writes_its_results_again(jobs) -> None:
    """Results moved to ``previous`` are written again, although every block has its records."""
    words = (*MANUAL, "TEST.REUSE_PREDICTIONS=True")
    first = jobs.test(*words, chunks=True)
    before = read_labels(first / "per_image_instances", 2)
    assert jobs.command(*jobs.words(*words, chunks=True, run_id=jobs.count)) == 0
    np.testing.assert_array_equal(read_labels(first / "per_image_instances", 2), before)
    assert (first / "instance_associations" / "large_th_0.5_gt_assoc.csv").is_file()
    assert (first / "overlays" / "large.png").is_file()


@pytest.mark.parametrize("jobs", fast_first(["2d", "3d"]), indirect=True)
@pytest.mark.usefixtures("whole_halo")
def test_predict_processes_large_images_in_blocks(jobs, tmp_path, monkeypatch) -> None:
    """Images that do not fit into memory have the same instances."""
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    image, out = jobs.images / "x" / "large.tif", (tmp_path / "whole", tmp_path / "blocks")
    line = ("predict", image, "--model", model, "--tables", "-o")
    assert jobs.command(*line, out[0]) == 0, jobs.command.err
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    monkeypatch.setattr(table_parts, "ROWS", 3)  # instances of which the table is written at once
    assert jobs.command(*line, out[1]) == 0, jobs.command.err
    assert "in blocks" in jobs.command.out
    assert jobs.command.out.count("instances\n") == 1
    written = ["large.zarr", "large_overlay.png", "large_stats.csv"]
    assert sorted(p.name for p in out[1].iterdir()) == written
    one = tifffile.imread(out[0] / "large.tif")
    np.testing.assert_array_equal(one, read_labels(out[1], jobs.ndim))
    assert one.max() > 3
    whole, blocks = (pd.read_csv(folder / "large_stats.csv") for folder in out)
    # The confidence needs the maps of the whole image.
    pd.testing.assert_frame_equal(whole.drop(columns="confidence"), blocks, rtol=1e-9)
    assert jobs.command(*line, out[1]) == 2  # nothing is written over
    assert jobs.command(*line, out[1], "--resume") == 0
    assert "done already" in jobs.command.out
    assert jobs.command(*line, out[0], "--overwrite") == 0
    assert f"{out[0] / 'large.tif'} is the result of an earlier prediction" in jobs.command.out


@pytest.mark.slow
def test_a_prediction_interrupted_at_the_end_is_completed(jobs, tmp_path, monkeypatch) -> None:
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    out = tmp_path / "predicted"
    line = ("predict", jobs.images / "x", "--model", model, "--tables", "-o", out)
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    move = os.replace

    def ending(source, target) -> None:
        move(source, target)
        if Path(target).name == "large.zarr":
            raise _Stop

    monkeypatch.setattr(os, "replace", ending)
    assert jobs.command(*line) == 130
    monkeypatch.setattr(os, "replace", move)
    before = read_labels(out, 2)
    assert (out / "large_stats.csv").is_file()  # with --resume the image would count as done
    assert jobs.command(*line, "--overwrite") == 0, jobs.command.err
    np.testing.assert_array_equal(read_labels(out, 2), before)
    written = ["large.zarr", "large_overlay.png", "large_stats.csv"]
    assert sorted(p.name for p in out.iterdir()) == written


def test_the_reason_against_blocks_is_reported_once(jobs, tmp_path, monkeypatch) -> None:
    image = tmp_path / "broken.npy"
    values = np.ones(SHAPES[2], np.float32)
    values[3, 4] = np.nan
    np.save(image, values)
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    assert jobs.command("predict", image, "--model", model, "-o", tmp_path / "out") == 2
    assert jobs.command.out.count("1 NaN value") == 1
    assert "test images" not in jobs.command.out


def test_missing_workers_are_not_an_error_of_the_images(jobs, tmp_path) -> None:
    """No image is started, and all can be processed after correcting the option."""
    pytest.importorskip("distributed")
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    line = ("predict", jobs.images / "x", "--model", model, "-o", tmp_path / "predicted")
    assert jobs.command(*line, "--dask", "locl:2") == 2
    assert "got 'locl:2', expected local:N" in jobs.command.err
    assert "FAILED" not in jobs.command.out
    assert not (tmp_path / "predicted").exists()


def test_blocks_are_planned_for_the_memory_of_the_workers(jobs, tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    model = jobs.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    line = ("predict", jobs.images / "x", "--model", model, "-o", tmp_path / "predicted")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, memory_limit="1.2GB", processes=False, protocol="tcp://",
        dashboard_address="127.0.0.1:0",
    ) as cluster:  # fmt: skip
        assert jobs.command(*line, "--dask", cluster.scheduler_address) == 2
    assert "got 0.6 GB of memory for each worker" in jobs.command.err + jobs.command.out


@pytest.mark.slow
def test_without_seeds_there_are_no_instances(jobs) -> None:
    """Even if the foreground covers the image."""
    keys = (f"{SEG}.DATA_MW_TH_TYPE=manual", f"{SEG}.DATA_MW_TH_BINARY_MASK=1.0")
    run = jobs.test(*keys, f"{SEG}.DATA_MW_TH_FOREGROUND=0.0", chunks=True)
    assert not read_labels(run / "per_image_instances", 2).any()
    assert not (run / "chunks" / "large" / "flood" / "000000").exists()
    assert pd.read_csv(run / "metrics.csv")["tp"].sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["2d", "classes"], indirect=True)
@pytest.mark.parametrize("why", ["no seed", "too small"])
def test_every_step_after_decoding_accepts_an_image_without_instances(jobs, why) -> None:
    keys = [
        f"{SEG}.DATA_MW_TH_TYPE=manual",
        f"{POST}.VORONOI_ON_MASK=True",
        f"{POST}.REPARE_LARGE_BLOBS_SIZE=150",
        f"{POST}.CLEAR_BORDER=True",
        f"{POST}.MEASURE_PROPERTIES.ENABLE=True",
        f"{REMOVAL}.ENABLE=True",
        f"{REMOVAL}.PROPS=[['npixels']]",
        f"{REMOVAL}.VALUES=[[60]]",
        f"{REMOVAL}.SIGN=[['lt']]",
    ]
    keys += [
        f"{SEG}.DATA_MW_TH_BINARY_MASK=1.0"
        if why == "no seed"
        else f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE=1000000"
    ]
    whole, chunks = (jobs.test(*keys, chunks=c) for c in (False, True))
    for run in (whole, chunks):
        for folder in ("per_image_instances", "per_image_post_processing"):
            assert not read_labels(run / folder, 2).any()
    one, two = (pd.read_csv(run / "metrics.csv") for run in (whole, chunks))
    shared = [c for c in one.columns if "per_patch" not in c]
    pd.testing.assert_frame_equal(one[shared], two[shared], rtol=1e-6)
    assert one["n_pred"].sum() == 0 < one["n_true"].sum()


@pytest.mark.slow
def test_the_report_shows_the_center_of_large_images(jobs, monkeypatch) -> None:
    run = jobs.test(*MANUAL, chunks=True)
    instances = json.loads((run / "run.json").read_text())["test"]["instances"]["large"]
    monkeypatch.setattr(images, "_MAX_PIXELS", 1000)
    monkeypatch.setattr(boxes, "DISPLAY_SIDE", 64)
    text = build_report(run).read_text()
    assert (
        "its pictures and shapes show only the center (48 to 112 of 160, 68 to 132 of 200)" in text
    )
    assert f"{instances} objects found" in text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("TEST.FULL_IMG=True", "TEST.FULL_IMG"),
        ("TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 8, 8)", "BLOCK_SHAPE"),
        ("SYSTEM.MAX_MEMORY=10MB", "expected at least"),
        ("SYSTEM.MAX_MEMORY=much", "MAX_MEMORY"),
    ],
)
def test_unsupported_combinations_are_refused(jobs, key, message) -> None:
    jobs.count += 1
    words = jobs.words(chunks=True, run_id=jobs.count)
    assert jobs.command(*words, "--set", key) == 2
    assert (jobs.command.out + jobs.command.err).count(message) == 1
    assert "Traceback" not in jobs.command.err


@pytest.mark.parametrize("more", [-20, 20])
def test_a_mask_of_another_size_is_named(jobs, tmp_path, more) -> None:
    mask = tmp_path / "masks" / "large.tif"
    write_tiff(mask, np.ones((SHAPES[2][0] + more, SHAPES[2][1]), np.uint8), "YX")
    jobs.count += 1
    changes = (f"{POST}.APPLY_MASK=True", f"DATA.TEST.BINARY_MASKS={mask.parent}")
    assert jobs.command(*jobs.words(*changes, chunks=True, run_id=jobs.count)) == 2
    assert f"{mask}: got a mask of shape ({SHAPES[2][0] + more}" in jobs.command.out


def test_values_of_dask_are_checked(jobs) -> None:
    pytest.importorskip("distributed")
    jobs.count += 1
    words = jobs.words(chunks=True, run_id=jobs.count)
    for way, message in (
        ("local", "expected local:N"),
        ("slurm:nowhere.yaml", "nowhere.yaml does not exist"),
    ):
        assert jobs.command(*words, "--dask", way) == 2
        assert message in jobs.command.err
    assert jobs.command(*jobs.words(chunks=False, run_id=1), "--dask", "local:2") == 2
    assert "BY_CHUNKS" in jobs.command.err
    # Nothing is begun, neither training nor a folder
    assert not jobs.run(jobs.count).exists()


def test_a_cluster_file_with_arguments_that_are_not_known(jobs, tmp_path) -> None:
    pytest.importorskip("dask_jobqueue")
    file = tmp_path / "cluster.yaml"
    file.write_text("{jobs: 2, cores: 4, memory: 8GB, colour: red}")
    jobs.count += 1
    assert jobs.command(*jobs.words(chunks=True, run_id=jobs.count), "--dask", f"slurm:{file}") == 2
    assert "colour" in jobs.command.err
    assert "Traceback" not in jobs.command.err


def test_dask_is_optional(jobs, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    jobs.count += 1
    assert jobs.command(*jobs.words(chunks=True, run_id=jobs.count), "--dask", "local:2") == 2
    assert "distributed is not installed" in jobs.command.err
    assert install_command("dask") in jobs.command.err


LARGE = (400, 392)  # 5 × 7 blocks of 80 × 64, the last ones smaller


def sparse_image(folder: Path, kind: str) -> Path:
    """Write an image that is constant except for cells in one corner."""
    image = np.full(LARGE, 90 if kind == "background" else 0, np.uint8)
    labels = np.zeros(LARGE, np.uint16)
    if kind != "empty":
        made = make_image((72, 60), np.random.default_rng(8))
        corner = (slice(0, 72), slice(-60, None))
        image[corner], labels[corner] = made.image, made.labels
    write_tiff(folder / "x" / "large.tif", image, "YX")
    write_tiff(folder / "y" / "large.tif", labels, "YX")
    return folder


@pytest.mark.parametrize("kind", fast_first(["corner", "background", "empty"]))
def test_constant_blocks_have_the_results_of_the_whole_image(jobs, tmp_path, kind, monkeypatch):
    """Maps, coarser levels and instances are equal, although most blocks are copied."""
    jobs.images = sparse_image(tmp_path / "sparse", kind)
    written, write = [], BlockArray.write
    monkeypatch.setattr(
        BlockArray,
        "write",
        lambda self, box, array, level=0: (
            written.append((self.path.parent.name, level)) or write(self, box, array, level)
        ),
    )
    whole, chunks = (jobs.test(*MANUAL, chunks=c) for c in (False, True))
    maps = BlockArray.open(chunks / "per_image" / "large.zarr")
    expected = np.moveaxis(tifffile.imread(whole / "per_image" / "large.tif"), 0, -1)
    everything = (slice(None),) * 2
    np.testing.assert_allclose(maps.read(everything), expected, atol=2e-5)
    one, two = (read_labels(run / "per_image_instances", 2) for run in (whole, chunks))
    assert (one.max() > 0) == (kind != "empty")
    np.testing.assert_array_equal(one, two)
    one, two = (pd.read_csv(run / "metrics.csv") for run in (whole, chunks))
    shared = [c for c in one.columns if "per_patch" not in c]
    pd.testing.assert_frame_equal(one[shared], two[shared], rtol=1e-6)
    labels = BlockArray.open(chunks / "per_image_instances" / "large.zarr")
    for image, reduce in ((maps, mean), (labels, nearest)):
        for number, level in enumerate(image.levels[1:], 1):
            finer = np.ascontiguousarray(image.read(everything, number - 1))
            found = image.read(everything, number)
            np.testing.assert_array_equal(found, reduce(finer, level.halved))
    n_blocks = 5 * 7
    # Near the border, up to four kinds along each axis; and the blocks near the cells
    assert written.count(("per_image", 0)) <= 4 * 4 + 4 < n_blocks
    if kind != "background":  # which this network takes for an instance
        assert written.count(("per_image_instances", 0)) <= 4 * (kind == "corner")
    files = list((chunks / "per_image" / "large.zarr" / "0").rglob("c/*/*/*"))
    assert len(files) == n_blocks
