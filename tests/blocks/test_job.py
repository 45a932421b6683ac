"""Records of blocks are written atomically, and a block with a record is done."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from block_work import calls, refuse_seven, slow_square, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from singula.blocks import JobFolder, runner
from singula.blocks import job as job_module
from singula.blocks.runner import OneProcess, do_blocks
from singula.errors import UserError
from singula.io.records.blocks import DeviceNote

KINDS = st.sampled_from([np.uint8, np.int32, np.int64, np.uint64, np.float32, np.float64, bool])
RECORDS = st.dictionaries(
    st.text("abc.[]é", min_size=1, max_size=5),
    KINDS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0))),
    max_size=4,
)


def quiet(done: int, total: int) -> None:
    """Ignore the progress."""


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.integers(990, 1010) | st.integers(0, 10**10), RECORDS, max_size=12))
def test_saved_records_are_read(tmp_path_factory, records):
    job = JobFolder(tmp_path_factory.mktemp("job"))
    job.save_many("phase", records)
    assert job.done("phase") == set(records)
    asked = [*records, 10**11]
    assert job.missing("phase", asked) == [10**11]
    for number, expected in records.items():
        found = JobFolder(job.path).load("phase", number)
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
            np.testing.assert_array_equal(found[name], values)


def test_consecutive_blocks_share_a_file(tmp_path):
    job = JobFolder(tmp_path)
    job.save_many("a", {n: {} for n in (3, 4, 5, 9, 999, 1000, 1001)})
    names = {str(p.relative_to(tmp_path / "a")) for p in tmp_path.rglob("*.npz")}
    assert names == {"000000/003-005.npz", "000000/009.npz", "000000/999.npz", "000001/000-001.npz"}


def test_the_arrays_of_a_record_are_writable(tmp_path):
    job = JobFolder(tmp_path)
    job.save("a", 1, {"x": np.arange(3)})
    job.load("a", 1)["x"][:] = 7
    np.testing.assert_array_equal(job.load("a", 1)["x"], [0, 1, 2])


def test_a_repeated_phase_is_read_again(tmp_path):
    job = JobFolder(tmp_path)
    job.save_many("a", {n: {"x": np.array(n)} for n in range(4)})
    assert job.load("a", 2)["x"] == 2
    job.delete_phase("a")
    assert job.done("a") == set()
    with pytest.raises(FileNotFoundError):
        job.load("a", 2)
    job.save_many("a", {n: {"x": np.array(10 + n)} for n in (2, 3)})
    assert job.load("a", 2)["x"] == 12
    job.save_many("a", {n: {"x": np.array(20 + n)} for n in (2, 3)})  # the same file, other bytes
    assert job.load("a", 2)["x"] == 22


def test_the_files_of_few_folders_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "_MAX_FOLDERS", 2)
    job = JobFolder(tmp_path)
    numbers = [folder * 1000 + number for folder in range(5) for number in (0, 1)]
    job.save_many("a", {n: {"x": np.array(n)} for n in numbers})
    for number in (*numbers, *numbers[::-1]):
        assert job.load("a", number)["x"] == number
        assert len(job._files) <= 2


def test_python_objects_are_not_records(tmp_path):
    with pytest.raises(TypeError, match="x"):
        JobFolder(tmp_path).save("a", 1, {"x": np.array([None])})
    assert JobFolder(tmp_path).done("a") == set()


def test_a_failed_write_leaves_no_record(tmp_path, monkeypatch):
    def half(path, **arrays):
        Path(path).write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    job = JobFolder(tmp_path)
    with pytest.raises(UserError, match="full"):
        job.save("a", 1, {"x": np.arange(3)})
    assert job.done("a") == set()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_temporary_files_of_a_killed_process_are_not_records(tmp_path):
    job = JobFolder(tmp_path)
    job.save("a", 1, {})
    (tmp_path / "a" / "000000" / ".002.abcdef-1-00000000.part.npz").write_bytes(b"PK")
    job.save_table("a", "ids", np.arange(3))
    assert job.done("a") == {1}


def test_delete_all_except_keeps_the_named_phases_and_the_plan(tmp_path):
    job = JobFolder(tmp_path)
    for phase in ("maps", "seeds", "flood"):
        job.save(phase, 0, {})
    for note in ("plan", "scaling", "halo"):
        job.write_note(note, DeviceNote(name="cpu"))
    job.delete_all_except(("maps", "scaling"))
    assert {path.name for path in tmp_path.iterdir()} == {"maps", "plan.json", "scaling.json"}
    assert not job.has_note("halo")
    JobFolder(tmp_path / "nowhere").delete_all_except(())


@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (2000,)])
def test_tables(tmp_path, shape):
    job = JobFolder(tmp_path)
    values = np.arange(np.prod(shape, dtype=int), dtype=np.uint32).reshape(shape)
    job.save_table("seeds", "ids", values)
    np.testing.assert_array_equal(job.open_table("seeds", "ids"), values)


def test_one_process_processes_the_unfinished_blocks(tmp_path):
    job = JobFolder(tmp_path)
    job.save_many("a", {n: {"square": np.array(-1)} for n in (0, 1, 5)})
    seen = []
    OneProcess().run(square, job, "a", range(8), lambda done, total: seen.append((done, total)))
    assert calls(tmp_path) == [2, 3, 4, 6, 7]
    assert seen[0] == (3, 8)
    assert seen[-1] == (8, 8)
    assert job.load("a", 1)["square"] == -1
    assert (job.load("a", 7)["square"] == 49).all()
    OneProcess().run(square, job, "a", range(8), quiet)
    assert len(calls(tmp_path)) == 5


def test_more_blocks_than_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "MAX_BATCH", 3)
    OneProcess().run(square, JobFolder(tmp_path), "a", range(10), quiet)
    assert calls(tmp_path) == list(range(10))


def test_blocks_that_take_long_are_recorded_before_the_next(tmp_path):
    assert do_blocks(slow_square, tmp_path, "a", [4, 5, 6], seconds=0.01) == [5, 6]
    assert JobFolder(tmp_path).done("a") == {4}


def test_large_records_are_written_before_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_BYTES", 1)
    assert do_blocks(square, tmp_path, "a", [4, 5]) == [5]


def test_blocks_with_a_record_are_skipped(tmp_path):
    """If a worker dies, another worker gets the same task."""
    do_blocks(square, tmp_path, "a", [1, 2])
    assert do_blocks(square, tmp_path, "a", [1, 2, 3]) == []
    assert calls(tmp_path) == [1, 2, 3]


def test_an_error_leaves_the_records_before_it(tmp_path):
    with pytest.raises(UserError, match="block 7"):
        OneProcess().run(refuse_seven, JobFolder(tmp_path), "a", range(10), quiet)
    assert JobFolder(tmp_path).done("a") == set(range(7))


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_process_loses_the_work_of_a_second(tmp_path):
    """Existing records are complete, and the next run processes the other blocks."""
    program = (
        "from pathlib import Path; from block_work import slow_square; import sys;"
        "from singula.blocks import JobFolder; from singula.blocks.runner import OneProcess;"
        "OneProcess().run(slow_square, JobFolder(sys.argv[1]), 'a', range(60), print)"
    )
    job = JobFolder(tmp_path)
    support = str(Path(__file__).parents[1] / "support")
    paths = os.pathsep.join([support, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if int(line.split()[0]) > 0:
            break
    process.kill()
    process.communicate()
    done = job.done("a")
    assert 0 < len(done) < 60
    OneProcess().run(square, job, "a", range(60), quiet)
    assert all((job.load("a", n)["square"] == n**2).all() for n in range(60))
    assert set(range(60)) - done == set(calls(tmp_path)[-(60 - len(done)) :])
