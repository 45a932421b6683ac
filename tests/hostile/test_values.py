"""Values that a configuration, an option or the environment can have, and that cannot be used."""

from __future__ import annotations

from contextlib import suppress
from difflib import SequenceMatcher
from pathlib import Path

import pytest
import yaml

from singula.config import config_from_dict, load_config
from singula.config.source import mapping_from_yaml, parse_yaml
from singula.errors import UserError
from singula.runtime import check_launcher, launcher_number, thread_limit
from singula.scaleout.dask_way import check_way
from singula.workflow import Job, run

TAGS = (
    "int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "str", "seq",
    "map", "merge", "value", "python/object:os.system", "python/tuple", "unknown",
)  # fmt: skip
NONSENSE = (
    "''", "x", "-", "+", "0x", "0b2", "1:x:2", "2001-99-99", "2001-12-14 21:59:43+99:99", "ü",
    "[1]", "[[1]]", "{a: 1}", "[{a: 1}, {a: 2}]", "[{}]", "{[1]: 2}", "{{}: 1}",
)  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_tags_never_end_in_another_error(tag: str) -> None:
    """Each is read as a value, or refused with its key and line."""
    for value in NONSENSE:
        text = f"TEST:\n  ENABLE: True\nTRAIN:\n  EPOCHS: !!{tag} {value}\n"
        for read in (parse_yaml, mapping_from_yaml):
            with suppress(UserError):
                read(text, "cells.yaml")
        with pytest.raises(UserError) as error:
            config_from_dict(
                {"TEST.ENABLE": True}, [f"TRAIN.EPOCHS=!!{tag} {value}"], source="cells.yaml"
            )
        assert "TRAIN.EPOCHS" in error.value.message, value


@pytest.mark.parametrize("tag", TAGS)
def test_tags_in_a_file_are_reported_at_their_line(tag: str, tmp_path: Path) -> None:
    file = tmp_path / "cells.yaml"
    for value in NONSENSE:
        file.write_text(f"TEST:\n  ENABLE: True\nTRAIN:\n  EPOCHS: !!{tag} {value}\n")
        with pytest.raises(UserError) as error:
            load_config(file)
        assert error.value.code in ("config.invalid", "config.syntax"), value
        assert "cells.yaml:4" in error.value.message, value


GROWING = {
    "long list": "A: [" + "1, " * 300_000 + "1]",
    "many keys": "\n".join(f"K{number}: 1" for number in range(80_000)),
    "deep list": "A: " + "[" * 100_000,
    "deep sections": "\n".join(" " * depth + "A:" for depth in range(1000)),
    "deep block lists": "A:\n  " + "- " * 100_000,
    "aliases of lists": "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "\n".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 10)}]" for a, b in zip("abcdef", "bcdefg", strict=True)
    ),
    "list in itself": "A: &a [*a]",
    "section in itself": "A: &a\n  B: *a",
    "merge of itself": "A: &a\n  <<: *a",
    "more than a mebibyte": "A: '" + "x" * 2**20 + "'",
}


@pytest.mark.parametrize("text", GROWING)
def test_no_text_is_composed_beyond_the_limit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = yaml.composer.Composer.compose_node
    monkeypatch.setattr(
        yaml.composer.Composer,
        "compose_node",
        lambda self, *place: (composed.append(1), compose(self, *place))[1],
    )
    for read in (parse_yaml, mapping_from_yaml):
        composed.clear()
        with pytest.raises(UserError) as error:
            read(GROWING[text], "cells.yaml")
        assert error.value.code == "config.too_large"
        assert len(composed) <= 20_000


def test_duplicate_and_merged_keys() -> None:
    text = "A: &a {LR: 1, EPOCHS: 2}\nTRAIN:\n  <<: [*a, {LR: 3}]\n  EPOCHS: 4\n"
    tree = parse_yaml(text, "cells.yaml")
    assert {k: v.value for k, v in tree.entries.items() if k[0] == "T"} == {
        "TRAIN.EPOCHS": 4,
        "TRAIN.LR": 1,
    }
    assert not tree.problems
    (problem,) = parse_yaml("TRAIN:\n  LR: 1\n  LR: 1\n", "cells.yaml").problems
    assert problem.text.startswith("TRAIN.LR")
    assert problem.place.line == 3


def test_the_nearest_key_is_searched_for_few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {f"TRAIN.UNKNOWN_{number}": 1 for number in range(9000)}
    searched = []
    ratio = SequenceMatcher.ratio
    monkeypatch.setattr(SequenceMatcher, "ratio", lambda self: (searched.append(1), ratio(self))[1])
    with pytest.raises(UserError) as error:
        config_from_dict({"TEST.ENABLE": True, **unknown})
    assert error.value.code == "config.invalid"
    assert "8,800 more" in error.value.message.replace("\u202f", ",")
    few = len(searched)
    searched.clear()
    with pytest.raises(UserError):
        config_from_dict({"TEST.ENABLE": True, **dict(list(unknown.items())[:60])})
    assert few == len(searched)
    with pytest.raises(UserError, match=r"did you mean TRAIN.EPOCHS"):
        config_from_dict({"TEST.ENABLE": True, "TRAIN.EPOCS": 1, "TRAIN." + "X" * 10**6: 1})


@pytest.mark.parametrize("name", ["\x1b[2J", "a\0", "\ud800", "x" * 10_000, "a\nb"], ids=ascii)
def test_unknown_keys_can_be_printed(name: str) -> None:
    with pytest.raises(UserError) as error:
        config_from_dict({"TEST.ENABLE": True, name: 1})
    lines = error.value.message.splitlines()
    assert len(lines) == 2
    assert len(lines[1]) < 300
    assert lines[1].isprintable()


NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
           "MASTER_PORT")  # fmt: skip


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NUMBERS, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "²", "٣", "1_0", "0x1", " 1", "9" * 5000])
@pytest.mark.parametrize("variable", NUMBERS)
def test_the_environment_of_a_launcher_is_validated(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, text)
    for check in (check_launcher, lambda: launcher_number(variable)):
        with pytest.raises(UserError) as error:
            check()
        assert error.value.code == "environment.number"
        assert variable in error.value.message
    with pytest.raises(UserError) as error:  # before the configuration is read
        run(Job(tmp_path / "missing.yaml"), print)
    assert error.value.code == "environment.number"


@pytest.mark.parametrize(
    "values",
    [
        {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234"},
        {"RANK": "1"},
        {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},
    ],
)
def test_a_launcher_gives_processes_that_can_meet(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in values.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(UserError) as error:
        check_launcher()
    assert error.value.code == "environment.processes"


def test_what_launchers_set_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launcher()
    for name in NUMBERS:
        monkeypatch.setenv(name, "")
    check_launcher()
    for name, text in zip(NUMBERS, ("3", "4", "1", "2", "2", "29500"), strict=True):
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("MASTER_ADDR", "node1")
    check_launcher()
    assert launcher_number("RANK") == 3


@pytest.mark.parametrize(
    ("text", "threads"),
    [("4", 4), ("4,2", 4), (" 8 ", 8), ("", None), ("0", None), ("²", None), ("abc", None),
     ("-2", None), ("9" * 5000, None)],
)  # fmt: skip
def test_threads_of_the_environment(
    text: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert thread_limit() == threads


WAYS = ["", ":", "local", "local:", "local:0", "local:-1", "local:1025", "local:" + "9" * 5000,
        "local:²", "local:1 ", "tcp://", "tcp://[:x", "tcp://host", "tcp://host:", "tcp://host:x",
        "tcp://host:0", "tcp://host:65536", "tcp://:8786", "tcp://[::1", "tcp://a b:1",
        "tcp://host:1/x", "tcp://u@host:1", "TCP://host:1", "http://host:1", "tcp:host:1",
        "tcp://host:8786\n", "tcp://\ud800:1", "a\0b"]  # fmt: skip
FILES = ["", "[", "- 1", "jobs: x", "jobs: 0", "jobs: True", "jobs: !!int ''", "cores: 1",
         "jobs: 1", "{jobs: 1, cores: 0, memory: 1GB}", "{jobs: 1, cores: 1, memory: x}",
         "{jobs: 1, cores: 1, memory: 1GB, x: 1}",
         "{jobs: 1, cores: 1, memory: 1GB, processes: 0}",
         "{jobs: 1, cores: 1, memory: 1GB, job_script_prologue: 1}",
         "{jobs: 1, cores: 1, memory: 1GB, worker_extra_args: 1}",
         "{jobs: 1, cores: [1], memory: 1GB}", "a: &a [*a]", "\0", "A: [" + "1, " * 30_000 + "1]",
         ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ascii(way)[:30])
def test_workers_are_validated_before_anything_starts(way: str) -> None:
    with pytest.raises(UserError) as error:
        check_way(way)
    assert error.value.code == "dask.workers"


@pytest.mark.parametrize("text", FILES, ids=lambda text: ascii(text)[:30])
def test_files_of_batch_systems_are_validated_before_anything_starts(
    text: str, tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    file = tmp_path / "queue.yaml"
    file.write_text(text)
    for queue in ("slurm", "pbs", "lsf", "sge"):
        with pytest.raises(UserError) as error:
            check_way(f"{queue}:{file}")
        assert error.value.code is not None
        assert str(file) in error.value.message


@pytest.mark.parametrize("way", ["tls://host:1", "wss://host:1"])
def test_protocols_that_are_not_set_up(way: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UserError) as error:
        check_way(way)
    assert error.value.code in ("dask.encryption", "dask.library_missing")
