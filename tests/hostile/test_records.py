"""Files that Singula writes and reads back: every field altered, damaged bytes, other versions."""

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from singula.blocks import JobFolder
from singula.data.owned_folder import MANIFEST, SharedFolder
from singula.errors import UserError
from singula.exports import export
from singula.io.record_files import (
    append_line,
    parse_record,
    read_lines,
    read_record,
    write_record,
)
from singula.io.record_tables import append_row, read_rows, read_table
from singula.io.records import checkpoints, locks, review, slides, sweeps  # noqa: F401  # all subclasses
from singula.io.records.base import StoredRecord
from singula.io.records.blocks import FinishedNote, PlanNote
from singula.io.records.results import (
    ImageResult,
    PredictionLine,
    ProgressLine,
    RunSummary,
    ScoreRecord,
    StartedRun,
)
from singula.io.records.tables import EpochRow, MetricsRow, TrialRow
from singula.metrics import Score
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.run import Job, run
from singula.report.build import build_report
from singula.runs.run import open_run
from singula.util.messages import captured_messages

SCORE = {f.name: 1 if f.type == "int" else 0.5 for f in fields(Score)}
RESULT = {
    "instances": 3, "thresholds": {"TH_CONTOUR": 0.5}, "overlay": "a.png", "maps": {"iou_B": 0.5},
    "matches": {"per_image": [SCORE]}, "classes": {"per_image/1": [SCORE]},
}  # fmt: skip
STARTED = {"pid": 3, "created": 1.5, "began": 1.5, "stopped": False}
PLACE = ["a/b", "YX", 0, None, "", "", False, 1.0, False, "DAPI"]
EXAMPLES: dict[str, dict[str, Any]] = {
    "ImageResult": RESULT,
    "ProgressLine": {"image": "a", "fingerprint": "f", "stamp": "s", "files": ["a.tif"], **RESULT},
    "PredictionLine": {"file": "per_image/a", "stamp": "s", "image": "i", "settings": "t",
                       "weights": None, "patches": {"truth": "t", "scores": {"iou_B": 0.5}}},
    "ChannelManifest": {"files": {"a.tif": {"fingerprint": "f", "stamp": [1, 2]}}},
    "RunSummary": {
        "job": {"id": "job_1", "paths": {}, "started_in": "/", "processes": 2, "dask": "local:2",
                "resumed": False},
        "finished": "2026",
        "versions": {"numpy": "2"}, "machine": {"cores": 2}, "seed": 0, "precision": "32",
        "seconds": {"start": 1.5}, "peak_memory_mb": 1.5, "peak_memory_mb_after": {"start": 1.5},
        "configuration": {"PROBLEM.NDIM": "2D"},
        "training": {"epochs": 1, "patches_per_epoch": 4, "parameters": 9,
                     "images": 3, "validation_images": 1, "smallest_image": [8, 8],
                     "largest_image": [9, 9], "annotated": 0.5, "last_epoch": {"epoch": 1},
                     "model": "f"},
        "data": {"DATA.TRAIN.PATH": {"a.tif": "0123456789abcdef"}},
        "first_model": {"path": "a.pth", "sha256": "0123456789abcdef"},
        "test": {"instances": {"a": 3}, "thresholds": {"a": {"TH_CONTOUR": 0.5}},
                 "threshold_sources": {"TH_CONTOUR": "user"}, "failed": {"b": "no image"},
                 "files": {"a": ["a.tif", None]}},
    },
    "Started": STARTED,
    "StartedRun": {**STARTED, "command": ["singula"], "config": "c", "result_dir": "o",
                   "name": "job", "run_id": 1, "gpu": None, "resume": True},
    "QueuedRun": {"config": "c", "result_dir": "o", "name": "job", "run_id": 1, "gpu": "0",
                  "resume": True, "queued": 1.5},
    "QueuedJob": {"queued": 1.5},
    "QueuedPrediction": {"queued": 1.5, "resume": True},
    "QueuedSearch": {"queued": 1.5, "metric": "pq", "iou": 0.5},
    "RunNotes": {"title": "t", "note": "n", "archived": True},
    "DeletedRun": {"name": "job_1", "deleted": 1.5},
    "StartedSearch": {**STARTED, "metric": "pq", "iou": 0.5},
    "StartedPrediction": {**STARTED, "images": "i", "model": "nuclei", "channel": "1"},
    "ReviewRecord": {"prediction": "a.tif", "digest": "0123456789abcdef", "accepted": [1],
                     "corrected": [2]},
    "BeforeRecord": {"model": "nuclei", "images": 1, "f1": 0.5},
    "PlanNote": {"name": "a", "config": "x: 1", "image": "a", "label": "", "mask": "",
                 "checkpoint": "c", "image_place": PLACE, "label_place": None, "maps": "m",
                 "instances": "i", "processed": "", "shape": [9, 9], "block": [3, 3],
                 "spacing": [1.0, 1.0], "unit": None, "most": 10, "network": 10, "halo": [1, 0],
                 "maps_key": "k", "key": "k"},
    "DeviceNote": {"name": "cpu"}, "RecountNote": {}, "FillNote": {"values": [0.5]},
    "ScalingNote": {"low": [float("-inf")], "high": [float("inf")], "shift": [0.5], "scale": [1.5]},
    "ThresholdsNote": {"values": {"TH_CONTOUR": 0.5}, "notes": ["n"], "area": 0.5},
    "HaloErrorNote": {"corners": 3, "difference": 0.5, "changed": 1, "probabilities": 9},
    "HaloNote": {"pixels": [3, 3]}, "LayerNote": {"layer": "a", "table": ""},
    "ClassesNote": {"layer": "a", "table": "", "classes": "b", "target": "c"},
    "PyramidNote": {"path": "a", "level": 1},
    "ColorNote": {"match": "a", "instances": "b", "picture": "c"},
    "FinishedNote": {"result": RESULT},
    "SlideNote": {"file": "a.svs", "downsample": [1.0, 1.0], "origin": [7, 9], "tissue": 0.5},
    "CheckpointInfo": {"channels": "BC", "tuned": {"thresholds": {"TH_CONTOUR": 0.5}}},
    "PackageInfo": {"weights": "weights.pt", "epoch": 3, "checkpoint": {"channels": "BC"}},
    "LockRecord": {"task": "run", "pid": 3, "host": "h", "command": "c", "started": "t"},
    "SweepRecord": {"config": "a.yaml", "overrides": ["TRAIN.EPOCHS=2"],
                    "varied": ["TRAIN.LR=1,2"], "folds": 2, "trials": 0, "seed": 0,
                    "runs": [["TRAIN.LR=1"]], "configuration": {"TRAIN.LR": 0.1}},
    "TrainerState": {"epoch": 3, "global_step": 5},
}  # fmt: skip


def _subclasses(kind: type[StoredRecord]) -> Iterator[type[StoredRecord]]:
    for below in kind.__subclasses__():
        yield below
        yield from _subclasses(below)


RECORDS = StoredRecord.__module__.rpartition(".")[0]
KINDS = {k.__name__: k for k in _subclasses(StoredRecord) if k.__module__.startswith(RECORDS)}
_REMOVED = object()
VALUES: dict[str, Any] = {
    "removed": _REMOVED, "null": None, "text": "x", "number": 7, "negative": -1, "huge": 10**400,
    "boolean": True, "nan": float("nan"), "infinite": float("inf"), "nested": {"a": [{}]},
    "list": [[]], "deep": [[[[[[[[1]]]]]]]], "surrogate": "\ud800",
}  # fmt: skip


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items: Any = values.items() if isinstance(values, dict) else ()
    items = enumerate(values) if isinstance(values, list) else items
    for name, value in items:
        yield from places(value, (*path, name))


def altered(values: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path."""
    if not path:
        return value
    copied = list(values) if isinstance(values, list) else dict(values)
    if len(path) == 1 and value is _REMOVED:
        del copied[path[0]]
    else:
        copied[path[0]] = altered(values[path[0]], path[1:], value)
    return copied


def test_every_model_has_an_example() -> None:
    assert set(KINDS) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written_and_read(name: str, tmp_path: Path) -> None:
    record = parse_record(json.dumps(EXAMPLES[name]), KINDS[name], "example")
    write_record(tmp_path / "a.json", record)
    assert read_record(tmp_path / "a.json", KINDS[name]) == record


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_altered_fields_are_ignored_with_a_notice_or_refused(
    name: str, value: str, messages: list[str]
) -> None:
    for path in places(EXAMPLES[name]):
        if not path and VALUES[value] is _REMOVED:
            continue
        text = json.dumps(altered(EXAMPLES[name], path, VALUES[value]))
        try:
            record = parse_record(text, KINDS[name], "f.json")
        except UserError as error:
            refused = error
        else:
            assert isinstance(record, KINDS[name])
            continue
        assert refused.code in ("records.invalid_field", "records.missing_field",
                                "records.not_json", "records.newer_version")  # fmt: skip
        assert refused.message.startswith("f.json: ")
        assert len(refused.message) < 300


def test_the_refused_field_is_named() -> None:
    values = altered(EXAMPLES["RunSummary"], ("test", "instances", "a"), -1)
    with pytest.raises(UserError) as refused:
        parse_record(json.dumps(values), RunSummary, "run.json")
    assert refused.value.message.startswith("run.json: test.instances.a: got -1")


def test_an_optional_field_is_ignored_and_named(messages: list[str]) -> None:
    values = altered(EXAMPLES["RunSummary"], ("seconds", "start"), "x")
    record = parse_record(json.dumps(values), RunSummary, "run.json")
    assert record.seconds == {}
    assert record.test == parse_record(json.dumps(EXAMPLES["RunSummary"]), RunSummary, "").test
    assert len(messages) == 1
    assert messages[0].startswith("run.json: seconds.start: got 'x'")


@pytest.mark.parametrize("name", EXAMPLES)
def test_newer_versions_are_refused(name: str) -> None:
    """For any other contents of the file."""
    for values in ({**EXAMPLES[name], "format": 2}, {"format": 99, "other": []}):
        with pytest.raises(UserError) as refused:
            parse_record(json.dumps(values), KINDS[name], "f.json")
        assert refused.value.code == "records.newer_version"


def _folder(path: Path) -> None:
    path.mkdir()


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "folder": _folder, "pipe": os.mkfifo, "empty": _bytes(b""), "binary": _bytes(bytes(range(256))),
    "latin": _bytes('{"a": "é"}'.encode("latin-1")), "open": _bytes(b"{"), "list": _bytes(b"[]"),
    "deep": _bytes(b"[" * 100_000), "zeros": _bytes(bytes(1000)), "nothing": _bytes(b"null"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    DAMAGE[damage](path)
    with pytest.raises(UserError) as refused:
        read_record(path, PlanNote)
    expected = {"folder": "paths.not_a_file", "pipe": "paths.not_a_file",
                "list": "records.invalid_field", "nothing": "records.invalid_field"}  # fmt: skip
    assert refused.value.code == expected.get(damage, "records.not_json")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", [ProgressLine, PredictionLine])
def test_damaged_files_of_lines(damage: str, kind: type[StoredRecord], tmp_path: Path) -> None:
    """A folder or pipe is refused; other damage loses lines only."""
    path = tmp_path / "f.jsonl"
    DAMAGE[damage](path)
    if damage in ("folder", "pipe"):
        for read in (
            lambda: read_lines(path, kind),
            lambda: append_line(path, kind_of(kind)),
        ):
            with pytest.raises(UserError):
                read()
        return
    assert read_lines(path, kind) == []
    append_line(path, kind_of(kind))
    assert read_lines(path, kind) == [kind_of(kind)]


def kind_of(kind: type[StoredRecord]) -> StoredRecord:
    return parse_record(json.dumps(EXAMPLES[kind.__name__]), kind, "example")


def test_an_invalid_line_loses_that_line(tmp_path: Path, messages: list[str]) -> None:
    path = tmp_path / "progress.jsonl"
    line = kind_of(ProgressLine)
    append_line(path, line)
    with path.open("ab") as file:
        file.write(b'{"image": 3}\n\xff\xfe\n')
    append_line(path, line)
    with path.open("ab") as file:
        file.write(b'{"image": "half')  # where a process was killed
    append_line(path, line)
    assert read_lines(path, ProgressLine) == [line] * 3
    assert len(messages) == 1
    assert "line 2" in messages[0]
    assert "2 more" in messages[0]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.text(max_size=5), st.floats(), max_size=4),
    st.text(max_size=9),
)
def test_results_are_read_bit_for_bit(count: int, numbers: dict[str, float], text: str) -> None:
    result = ImageResult(
        instances=count, thresholds=numbers, overlay=text, maps=numbers, matches={}, classes={}
    )
    found = parse_record(result.model_dump_json(), ImageResult, "")
    assert repr(found) == repr(result)
    note = FinishedNote(result=result)
    assert repr(parse_record(note.model_dump_json(), FinishedNote, "")) == repr(note)


def test_scores_and_their_record_have_the_same_fields() -> None:
    assert [f.name for f in fields(Score)] == list(ScoreRecord.model_fields)


def test_notes_without_a_version_are_read() -> None:
    """As the first version of the program wrote them."""
    old = parse_record(json.dumps(RESULT), FinishedNote, "finished.json")
    assert old.result == ImageResult.model_validate(RESULT)
    assert parse_record("{}", FinishedNote, "finished.json").result is None


# Tables


def test_the_training_log_survives_damaged_lines(tmp_path: Path, messages: list[str]) -> None:
    path = tmp_path / "log.csv"
    for epoch in (1, 2, 3):
        append_row(path, EpochRow(epoch=epoch, lr=0.1, train_loss=epoch / 7), "epoch")
    whole = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join([whole[0], b"x,\xff,,", *whole[2:3], b"4,0.1"]))
    append_row(path, EpochRow(epoch=5, lr=0.1, train_loss=0.5), "epoch")
    assert [row.epoch for row in read_rows(path, EpochRow)] == [2, 5]
    assert len(messages) == 1


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_training_log_does_not_stop_a_training(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    DAMAGE[damage](path)
    row = EpochRow(epoch=1, lr=0.1, train_loss=0.5)
    if damage in ("folder", "pipe"):
        with pytest.raises(UserError):
            append_row(path, row, "epoch")
        return
    append_row(path, row, "epoch")
    assert [r.epoch for r in read_rows(path, EpochRow)] == [1]


@pytest.mark.parametrize("kind", [MetricsRow, TrialRow, EpochRow])
def test_flipped_bytes_in_tables(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    text = (
        b"view,image,threshold,class,epoch,pq,f1,precision,recall,chosen,TH_TYPE\r\n"
        b"per_image,a,0.5,,1,0.5,0.5,0.5,0.5,1,auto\r\n"
    )
    if kind is not TrialRow:
        text = text.replace(b",TH_TYPE", b"").replace(b",auto", b"")
    if kind is EpochRow:
        text = text.replace(b"view,image,", b"").replace(b"per_image,a,", b"")
    for seed in range(200):
        rng = random.Random(seed)
        content = bytearray(text)
        for _ in range(rng.choice([1, 3, 20])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        with suppress(UserError):
            read_table(path, kind)
        read_rows(path, kind)


# Folders of blocks


@pytest.mark.parametrize("name", ["seeds/000000/001-002.npz", "seeds/ids.npy", "plan.json"])
def test_damaged_files_of_blocks_are_refused(name: str, tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.save_many("seeds", {n: {"x": np.arange(9.0), "t": np.array(["a"])} for n in (1, 2)})
    job.save_table("seeds", "ids", np.arange(2000))
    job.write_note("plan", kind_of(PlanNote))

    def read() -> None:
        fresh = JobFolder(tmp_path)
        fresh.load("seeds", 1)
        np.array(fresh.open_table("seeds", "ids"))
        JobSpec.load(fresh)

    read()
    path = tmp_path / name
    whole = path.read_bytes()
    for seed in range(100):
        rng = random.Random(seed)
        content = bytearray(whole)
        for _ in range(rng.choice([1, 3, 50])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        with suppress(UserError):
            read()
    path.unlink()
    for damage in DAMAGE.values():
        damage(path)
        with pytest.raises(UserError):
            read()
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def test_an_index_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.save("a", 1, {"x": np.arange(3)})
    path = next(tmp_path.rglob("*.npz"))
    for kind, shape in (("<i8", [10**12]), ("|O", [1]), ("<i8", [-1]), ("<i8", [2**62, 4])):
        index = json.dumps([[1, [["x", kind, shape]]]]).encode()
        np.savez(path, data=np.zeros(8, np.uint8), index=np.frombuffer(index, np.uint8))
        with pytest.raises(UserError) as refused:
            JobFolder(tmp_path).load("a", 1)
        assert refused.value.code == "records.damaged_blocks"


# Folders of stored channels


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_makes_all_files_foreign(
    damage: str, tmp_path: Path, messages: list[str]
) -> None:
    DAMAGE[damage](tmp_path / MANIFEST)
    shared = SharedFolder(tmp_path, "KEY", "spare")
    assert shared.entry(tmp_path / "a.tif") is None
    assert len(messages) == 1


def test_an_invalid_entry_of_a_manifest_loses_that_entry(
    tmp_path: Path, messages: list[str]
) -> None:
    stamp = {"fingerprint": "f", "content": "c", "origin": None, "ndim": 2}
    (tmp_path / "a.tif").write_bytes(b"a")
    info = (tmp_path / "a.tif").stat()
    whole = {**stamp, "stamp": [info.st_size, info.st_mtime_ns]}
    files = {"a.tif": whole, "b.tif": {**whole, "ndim": "x"}, "c.tif": 3}
    (tmp_path / MANIFEST).write_text(json.dumps({"files": files}))
    shared = SharedFolder(tmp_path, "KEY", "spare")
    assert shared.entry(tmp_path / "a.tif") is not None
    assert shared.entry(tmp_path / "b.tif") is None
    assert len(messages) == 1


# A whole run


def resume(folder: Path, home: Path) -> list[str]:
    with captured_messages() as messages:
        run(Job(home / "job.yaml", folder.parents[2], "job", gpu="cpu", resume=True))
    return messages


def test_a_damaged_line_of_progress_costs_one_image(run_copy: Path, example_run: Path) -> None:
    path = run_copy / "progress.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    text = lines[0].replace(str(example_run / "out").encode(), str(run_copy.parents[2]).encode())
    path.write_bytes(text + lines[1].replace(b'"instances"', b'"instance\xff"'))
    said = resume(run_copy, example_run)
    assert any("damaged line" in line for line in said)
    assert any("1 of 2 images done already" in line for line in said)
    assert len(read_lines(path, ProgressLine)) == 2


def test_a_report_of_an_altered_summary(run_copy: Path) -> None:
    path = run_copy / "run.json"
    whole = json.loads(path.read_text())
    for place in places(whole):
        if place[:1] == ("configuration",) and len(place) > 1:
            continue  # see below
        for value in ("x", -1, [[]]):
            path.write_text(json.dumps(altered(whole, place, value)))
            with suppress(UserError):
                open_run(run_copy)
    path.write_text(json.dumps({**whole, "seconds": "x", "test": None}))
    assert build_report(run_copy).is_file()
    path.write_text(json.dumps({**whole, "test": {"failed": 3}}))
    with pytest.raises(UserError) as refused:
        build_report(run_copy)
    assert refused.value.code == "records.invalid_field"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.N_CLASSES", "x"),
        ("MODEL.N_CLASSES", [[]]),
        ("TEST.POST_PROCESSING.CLEAR_BORDER", "x"),
        ("TEST.POST_PROCESSING.REMOVE_BY_PROPERTIES.ENABLE", {"a": 1}),
        ("DATA.TEST.RESOLUTION", 0),
        ("DATA.PATCH_SIZE", "wide"),
        ("DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE", [None]),
        ("PROBLEM.NDIM", ["2D"]),
    ],
)
def test_altered_keys_of_a_summary_have_their_defaults(
    run_copy: Path, tmp_path: Path, key: str, value: object, messages: list[str]
) -> None:
    path = run_copy / "run.json"
    whole = json.loads(path.read_text())
    keys = {**whole["configuration"], key: value}
    path.write_text(json.dumps({**whole, "configuration": keys}))
    files = open_run(run_copy)
    assert any(key in line for line in messages)
    assert key not in files.summary.configuration
    assert build_report(run_copy).is_file()
    assert export(run_copy, "csv", tmp_path / "tables")


def test_a_run_with_an_altered_summary_is_listed_as_damaged(run_copy: Path) -> None:
    pytest.importorskip("psutil", reason="`pip install 'singula[gui]'` is missing")
    from singula.gui.runs import state_of, view_run

    path = run_copy / "run.json"
    whole = json.loads(path.read_text())
    assert state_of(run_copy) == "finished"
    for changes in ({"seconds": "x"}, {"test": []}, {"format": 2}, {"test": {"failed": {"a": 1}}}):
        path.write_text(json.dumps({**whole, **changes}))
        assert state_of(run_copy) == "damaged"
        assert next(iter(changes)) in str(view_run(run_copy).error)


def test_models_are_not_imported_by_the_command_line() -> None:
    import subprocess
    import sys

    code = "import singula.cli, sys; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_model_forbids_lax_types() -> None:
    """Text instead of a number is an error."""
    for kind in KINDS.values():
        assert kind.model_config["strict"]
        assert issubclass(kind, BaseModel)
    with pytest.raises(UserError):
        parse_record(json.dumps({**STARTED, "pid": "3"}), StartedRun, "gui_run.json")
