"""List of runs: order, scores, notes, archive, and deletion that loses no file."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from example_run import ExampleRun, cells, without
from locks import held_elsewhere

from singula.errors import UserError
from singula.gui.guard import Guard

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui import run_search
from singula.gui.run_list import describe_run, list_runs
from singula.gui.run_notes import MAX_TITLE, NOTES, read_notes, write_notes
from singula.gui.run_search import PREDICTION_RECORD, TRASH, is_default_place, search_runs, time_of
from singula.gui.trash import delete_run, describe_size, remove_permanently, restore_run
from singula.inference import list_models
from singula.io.record_files import write_record
from singula.io.records.results import StartedPrediction
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import lock_file
from singula.runs.run import open_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of two images, with checkpoints and a file of the user."""
    lattice = cells(2)
    pred = {"a": lattice, "b": without(lattice, 3, 4, 5, 6)}
    folder = ExampleRun(tmp_path, pred, keys={"TEST.ENABLE": True}).write()
    tree = ResultsTree.of_run(folder)
    tree.checkpoints.mkdir(parents=True)
    for path in (tree.checkpoint_best, tree.checkpoint_last):
        path.write_text(path.name)
    (tree.checkpoints / "job_10-checkpoint-best.pth").write_text("another run")
    (folder / "mine.txt").write_text("written by me")
    return folder


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    return Guard.of([tmp_path])


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_row_has_the_scores_of_the_report(run: Path) -> None:
    row = describe_run(run)
    assert row.state == "finished"
    assert row.scores is not None
    assert (row.scores.images, row.scores.objects) == (2, 16 + 12)
    # 12 of 16 objects: precision 1, recall 0.75
    assert row.scores.f1 == pytest.approx((1 + 2 * 12 / 28) / 2)
    assert row.scores.iou == 0.5


def test_a_run_with_other_scores_is_read_again(run: Path) -> None:
    before = describe_run(run).scores
    table = run / "metrics.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if "0.5" not in line.split(",")))
    os.utime(table, (1e9, 1e9))
    after = describe_run(run).scores
    assert before is not None
    assert after is not None
    assert (before.iou, after.iou) != (0.5, 0.5)


def test_a_note_does_not_change_the_order(run: Path, guard: Guard) -> None:
    later = run.with_name("job_2")
    (later / "train_logs").mkdir(parents=True)
    (later / "job_2.log").write_text("2026-01-01T10:00:00+00:00 computing\n")
    os.utime(later / "job_2.log", (2e9, 2e9))
    os.utime(later / "train_logs", (1e9, 1e9))
    assert [path.name for path in search_runs(guard).runs] == ["job_2", "job_1"]
    before = time_of(run)
    write_notes(guard, run, note="x")
    (run / "exports").mkdir()
    assert time_of(run) == before


def test_title_note_and_archive_are_stored_with_the_run(run: Path, guard: Guard) -> None:
    write_notes(guard, run, title="  First\n try ", note="Dense <b>cells</b>\n")
    write_notes(guard, run, archived=True)
    row = describe_run(run)
    assert (row.title, row.note, row.archived) == ("First try", "Dense <b>cells</b>", True)
    write_notes(guard, run, title="")
    assert describe_run(run).title == "job_1"
    assert open_run(run).test.instances == {"a": 16, "b": 12}
    with pytest.raises(UserError) as error:
        write_notes(guard, run, title="x" * (MAX_TITLE + 1))
    assert error.value.code == "gui.long_text"
    (run / NOTES).write_text('{"title": 3}')
    assert read_notes(run).title == ""


def test_notes_are_not_written_through_a_link(
    run: Path, guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "file.json"
    outside.write_text("{}")
    (run / NOTES).symlink_to(outside)
    with pytest.raises(UserError) as error:
        write_notes(guard, run, note="x")
    assert error.value.code == "gui.outside"
    assert outside.read_text() == "{}"


def test_a_deleted_run_is_restored_with_all_its_files(
    run: Path, guard: Guard, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    write_notes(guard, run, title="First try")
    before[str((run / NOTES).relative_to(tmp_path))] = (run / NOTES).read_bytes()
    entry = delete_run(guard, run)
    assert (entry.name, entry.title) == ("job_1", "First try")
    assert not run.exists()
    checkpoints = ResultsTree.of_run(run).checkpoints
    assert [path.name for path in checkpoints.iterdir()] == ["job_10-checkpoint-best.pth"]
    runs = list_runs(guard)
    assert runs.rows == []
    assert [deleted.name for deleted in runs.trash] == ["job_1"]
    assert len(list_models(tmp_path)) == len(list_models())
    assert restore_run(guard, entry.folder) == run
    assert contents(tmp_path) == before
    assert not (run.parent / TRASH).exists()


def test_two_deleted_runs_with_one_name_are_kept_apart(run: Path, guard: Guard) -> None:
    first = delete_run(guard, run)
    run.mkdir()
    (run / "run.json").write_text("{}")
    second = delete_run(guard, run)
    assert first.folder != second.folder
    restore_run(guard, second.folder)
    with pytest.raises(UserError) as error:
        restore_run(guard, first.folder)
    assert error.value.code == "gui.restore_exists"
    assert (first.folder / "run" / "mine.txt").read_text() == "written by me"


def test_only_the_chosen_run_is_removed_from_the_disk(run: Path, guard: Guard) -> None:
    other = run.with_name("job_2")
    other.mkdir()
    (other / "run.json").write_text("{}")
    entry, second = delete_run(guard, run), delete_run(guard, other)
    # A link in the run is removed, not its target.
    outside = run.parents[2] / "data" / "x" / "a.tif"
    (entry.folder / "run" / "link.tif").symlink_to(outside)
    count, size = describe_size(entry.folder)
    assert count > 5
    assert size > 1000
    remove_permanently(guard, entry.folder)
    assert not entry.folder.exists()
    assert outside.is_file()
    assert [deleted.folder for deleted in list_runs(guard).trash] == [second.folder]


def test_other_folders_are_not_deleted(
    run: Path, guard: Guard, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = tmp_path / "data"
    (images / "run.json").write_text("{}")  # PATHS.RESULT_DIR.PATH led there
    plain = run.with_name("job_7")
    plain.mkdir()
    (plain / "notes.txt").write_text("")
    outside = tmp_path_factory.mktemp("outside") / "job" / "results" / "job_1"
    outside.mkdir(parents=True)
    (outside / "run.json").write_text("{}")
    link = run.with_name("job_8")
    link.symlink_to(outside)
    inner = run.with_name("job_9")
    inner.symlink_to(run)
    for folder, code in (
        (images, "gui.not_deletable"),
        (tmp_path, "gui.not_deletable"),
        (plain, "gui.not_deletable"),
        (run.parent, "gui.not_deletable"),
        (outside, "gui.outside"),
        (link, "gui.outside"),
        (inner, "gui.not_deletable"),
        (Path("data/../.."), "gui.outside"),
    ):
        with pytest.raises(UserError) as error:
            delete_run(guard, folder)
        assert error.value.code == code, folder
    with pytest.raises(UserError) as error:
        delete_run(Guard.of([run / "per_image_instances", tmp_path]), run)
    assert error.value.code == "gui.not_deletable"
    for folder in (tmp_path, run, run.parent / TRASH):
        for action in (remove_permanently, restore_run):
            with pytest.raises(UserError) as error:
                action(guard, folder)
            assert error.value.code == "gui.not_in_trash"
    assert (run / "mine.txt").is_file()
    assert (outside / "run.json").is_file()


@pytest.mark.parametrize("name", ["checkpoints", f"results/{TRASH}"])
def test_files_elsewhere_are_not_moved(
    run: Path, guard: Guard, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside, link = tmp_path_factory.mktemp("outside"), run.parents[1] / name
    (outside / "job_1-checkpoint-best.pth").write_text("of another program")
    shutil.rmtree(link, ignore_errors=True)
    link.symlink_to(outside)
    before = contents(run)
    with pytest.raises(UserError) as error:
        delete_run(guard, run)
    assert error.value.code == "gui.outside"
    inside = run.parents[2] / "elsewhere"
    inside.mkdir()
    link.unlink()
    link.symlink_to(inside)
    with pytest.raises(UserError) as error:
        delete_run(guard, run)
    assert error.value.code == "gui.not_deletable"
    assert contents(run) == before
    assert [path.name for path in outside.iterdir()] == ["job_1-checkpoint-best.pth"]
    assert not list(inside.iterdir())


def test_a_record_in_the_trash_cannot_name_another_place(run: Path, guard: Guard) -> None:
    entry = delete_run(guard, run)
    (entry.folder / "deleted.json").write_text('{"name": "../../x_1", "deleted": 1.0}')
    with pytest.raises(UserError) as error:
        restore_run(guard, entry.folder)
    assert error.value.code == "gui.not_in_trash"
    assert list_runs(guard).trash == []


def test_a_running_run_is_not_deleted(run: Path, guard: Guard) -> None:
    for path in (lock_file(run), ResultsTree.of_run(run).checkpoint_lock):
        with held_elsewhere(path), pytest.raises(UserError) as error:
            delete_run(guard, run)
        assert error.value.code == "run.locked"
        assert (run / "mine.txt").is_file()
    assert not list(run.parent.glob(f"{TRASH}/*/run"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/results/a_1", True),
        ("a_b/results/a_b_12", True),
        ("a/results/b_1", False),
        ("a/other/a_1", False),
        ("a/results/a_x", False),
        ("results/_1", False),
    ],
)
def test_default_place(path: str, expected: bool) -> None:
    assert is_default_place(Path(path)) == expected


def test_a_search_that_ends_early_is_reported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "searched"
    for number in range(5):
        (root / f"0{number}").mkdir(parents=True)
    shutil.copytree(run, root / "job_1")
    prediction = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(root)}
    write_record(root / "out" / PREDICTION_RECORD, StartedPrediction.model_validate(prediction))
    guard = Guard.of([root])
    # The root and five empty folders come first.
    for limit, runs, predictions in ((6, 0, 0), (7, 1, 0), (8, 1, 1)):
        monkeypatch.setattr(run_search, "MAX_FOLDERS", limit)
        search, listed = search_runs(guard), list_runs(guard)
        assert len(search.runs) == len(listed.rows) == runs
        assert len(search.predictions) == predictions
        assert search.is_complete == (limit == 8)
        if search.is_complete:
            assert listed.notices == []
        else:
            (notice,) = listed.notices
            assert notice.startswith(f"Only {limit} folders")
    assert time.time() > time_of(run)
