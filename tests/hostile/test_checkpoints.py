"""Altered checkpoints: damaged bytes, changed values, tensors of other types, other structures."""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from selection import fast_first

from singula.errors import UserError
from singula.inference import load
from singula.pipeline import train as train_module
from singula.pipeline.run import Job, run
from singula.training import fit as fit_module
from singula.training.checkpoint import (
    KEY,
    load_checkpoint,
    read_checkpoint,
    save_tuned,
    write_checkpoint,
)
from singula.training.fit import FitResult, Training

Contents = dict[str, Any]


@pytest.fixture
def best(run_copy: Path) -> Path:
    return run_copy.parent.parent / "checkpoints" / "job_1-checkpoint-best.pth"


@pytest.fixture
def last(run_copy: Path) -> Path:
    return run_copy.parent.parent / "checkpoints" / "job_1-checkpoint-last.pth"


def contents_of(path: Path) -> Contents:
    contents: Contents = torch.load(path, weights_only=True)
    return contents


def predicts(path: Path) -> None:
    """Load a model, as `singula predict` does."""
    load(path)


def resumes(folder: Path, example_run: Path) -> None:
    overrides = ["TRAIN.EPOCHS=2", "TEST.ENABLE=False"]
    job = Job(example_run / "job.yaml", folder, "job", overrides=overrides, gpu="cpu", resume=True)
    run(job)


def test_flipped_bytes_never_change_a_result(best: Path, tmp_path: Path) -> None:
    """Either the values that are read have not changed, or the file is refused."""
    whole, expected = best.read_bytes(), load_checkpoint(best)
    codes = set()
    for seed in range(60):
        rng = random.Random(seed)
        altered = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4, 400])):
            altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        path = tmp_path / "altered.pth"
        path.write_bytes(altered)
        try:
            found = load_checkpoint(path)
        except UserError as error:
            codes.add(error.code)
            continue
        assert found.fingerprint == expected.fingerprint
        described = [{**c.description, "digest": ""} for c in (found, expected)]
        assert described[0] == described[1]
    assert codes >= {"checkpoint.unreadable", "checkpoint.digest"}
    assert None not in codes


@pytest.mark.parametrize("end", [0, 1, 100, -1, -100])
def test_truncated_files_are_refused(best: Path, end: int) -> None:
    best.write_bytes(best.read_bytes()[:end])
    with pytest.raises(UserError) as refused:
        load_checkpoint(best)
    assert refused.value.code == "checkpoint.unreadable"


def test_a_folder_or_pipe_in_its_place(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in ("pipe.pth", "folder.pth"):
        with pytest.raises(UserError) as refused:
            read_checkpoint(tmp_path / name)
        assert refused.value.code == "paths.not_a_file"


def leaves(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths of all values, containers before what they contain."""
    if path:
        yield path
    items: Any = ()
    if isinstance(values, dict):
        items = [(name, value) for name, value in values.items() if name not in range(2, 99)]
    elif isinstance(values, list):
        items = enumerate(values[:2])
    for name, value in items:
        yield from leaves(value, (*path, name))


def changed(
    contents: Contents, path: tuple[Any, ...], change: Callable[[Any, Any], None]
) -> Contents:
    """Return a copy with a change at a path."""
    copied = copy.deepcopy(contents)
    parent: Any = copied
    for step in path[:-1]:
        parent = parent[step]
    change(parent, path[-1])
    return copied


def _remove(parent: Any, name: Any) -> None:
    del parent[name]


def _set(value: Any) -> Callable[[Any, Any], None]:
    def change(parent: Any, name: Any) -> None:
        parent[name] = value

    return change


def as_text(value: Any) -> str:
    """Return a text of nested values, in which tuples and lists are equal, as in the digest."""
    return json.dumps(value, default=repr)


MUTATIONS: dict[str, Callable[[Any, Any], None]] = {
    "removed": _remove,
    "null": _set(None),
    "text": _set("x"),
    "negative": _set(-1),
    "huge": _set(10**400),
    "nan": _set(float("nan")),
    "nested": _set({"a": [{}]}),
    "list": _set([]),
    "tensor": _set(torch.zeros(2)),
}


@pytest.mark.parametrize("mutation", fast_first(MUTATIONS))
def test_altered_values_are_refused_by_the_digest(best: Path, mutation: str) -> None:
    contents = contents_of(best)
    for path in leaves(contents[KEY]):
        if path == ("digest",) and mutation == "removed":
            continue
        altered = changed(contents, (KEY, *path), MUTATIONS[mutation])
        if as_text(altered[KEY]) == as_text(contents[KEY]):
            continue
        torch.save(altered, best)
        with pytest.raises(UserError) as refused:
            load_checkpoint(best)
        assert refused.value.code


@pytest.mark.parametrize("mutation", fast_first(MUTATIONS))
def test_altered_values_with_a_valid_digest_predict_or_are_refused(
    best: Path, mutation: str
) -> None:
    """Files of earlier versions have no digest, so that each field is checked."""
    contents = contents_of(best)
    del contents[KEY]["digest"]
    for path in [*leaves(contents[KEY]), None]:
        where = (KEY, *path) if path else ("epoch",)
        torch.save(changed(contents, where, MUTATIONS[mutation]), best)
        with suppress(UserError):
            predicts(best)


@pytest.fixture
def job(run_copy: Path, example_run: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """Return the training that resuming the run for a second epoch would start."""
    jobs: list[Training] = []

    def keep(job: Training) -> FitResult:
        jobs.append(job)
        return FitResult([{"epoch": 1}], job.checkpoints.best, job.checkpoints.last)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "fit", keep)
        resumes(run_copy.parents[2], example_run)
    return jobs[0]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ["removed", "null", "text", "nested", "tensor"])
def test_altered_training_state_is_refused_before_the_training(
    job: Training, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of the file must not appear during training, where they look like bugs."""
    last = job.checkpoints.last
    monkeypatch.setattr(fit_module, "run_epochs", lambda *args: None)
    contents = contents_of(last)
    del contents[KEY]["digest"]
    places = [("epoch",), ("global_step",), ("optimizer_states",), (KEY, "training")]
    refused = []
    for path in leaves(contents):
        if not any(path[: len(place)] == place for place in places):
            continue
        torch.save(changed(contents, path, MUTATIONS[mutation]), last)
        try:
            fit_module.fit(job)
        except UserError:
            refused.append(path)
    if mutation in ("null", "text", "nested", "tensor"):
        assert ("epoch",) in refused
        assert ("global_step",) in refused
        assert ("optimizer_states", 0, "param_groups", 0, "lr") in refused
        assert ("optimizer_states", 0, "state", 0, "exp_avg") in refused


def test_an_older_file_without_a_digest_loads_with_a_notice(best: Path) -> None:
    expected = load_checkpoint(best)
    contents = contents_of(best)
    del contents[KEY]["digest"]
    torch.save(contents, best)
    model = load(best)
    assert any("no digest" in line for line in model.notices)
    assert load_checkpoint(best).fingerprint == expected.fingerprint
    save_tuned(best, {"thresholds": {"TH_BINARY_MASK": 0.5}})  # a file that is written has one
    assert not any("no digest" in line for line in load(best).notices)


def test_thresholds_are_not_signed_into_a_damaged_file(best: Path) -> None:
    contents = contents_of(best)
    name = next(iter(contents["state_dict"]))
    contents["state_dict"][name] += 1
    torch.save(contents, best)
    before = best.read_bytes()
    with pytest.raises(UserError) as refused:
        save_tuned(best, {"thresholds": {}})
    assert refused.value.code == "checkpoint.digest"
    assert best.read_bytes() == before


@pytest.mark.parametrize(
    "thresholds", [{"TH_BINARY_MASK": []}, {"TH_BINARY_MASK": "auto"}, {"TH_TYPE": 0.5}], ids=str
)
def test_invalid_tuned_thresholds_are_ignored_with_a_notice(
    best: Path, thresholds: dict[str, Any], messages: list[str]
) -> None:
    contents = contents_of(best)
    contents[KEY]["tuned"] = {"thresholds": thresholds}
    del contents[KEY]["digest"]
    torch.save(contents, best)
    assert "tuned" not in load_checkpoint(best, report=True).description
    assert any("tuned" in line for line in messages)


def _replaced(value: torch.Tensor, kind: str) -> Any:
    if kind == "half":
        return value.half()
    if kind == "double":
        return value.double()
    if kind == "integer":
        return value.int()
    if kind == "boolean":
        return value > 0
    if kind == "complex":
        return value.to(torch.complex64)
    if kind == "sparse":
        return value.to_sparse()
    if kind == "quantized":
        return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)
    if kind == "nan":
        return torch.full_like(value, torch.nan)
    if kind == "infinite":
        return torch.full_like(value, torch.inf)
    if kind == "repeated":
        return torch.zeros(1).expand(value.shape)
    return {"list": value.tolist(), "nested": {"a": value}, "number": 1.0, "none": None}[kind]


@pytest.mark.parametrize(
    "kind", ["half", "double", "integer", "boolean", "complex", "sparse", "quantized", "nan",
             "infinite", "repeated", "list", "nested", "number", "none"],
)  # fmt: skip
def test_weights_of_another_type_are_refused(best: Path, kind: str) -> None:
    contents = contents_of(best)
    del contents[KEY]["digest"]
    name = next(n for n, v in contents["state_dict"].items() if v.ndim == 4)
    contents["state_dict"][name] = _replaced(contents["state_dict"][name], kind)
    torch.save(contents, best)
    with pytest.raises(UserError) as refused:
        predicts(best)
    expected = {"nan": "not_finite", "infinite": "not_finite"}.get(kind, "tensor_type")
    assert refused.value.code == f"checkpoint.{expected}"


def test_a_digest_covers_every_value(last: Path) -> None:
    contents = contents_of(last)
    group = contents["optimizer_states"][0]["param_groups"][0]
    group["lr"] *= 2
    torch.save(contents, last)
    with pytest.raises(UserError) as refused:
        read_checkpoint(last)
    assert refused.value.code == "checkpoint.digest"
    write_checkpoint(contents, last)
    assert read_checkpoint(last)["optimizer_states"] is not None
