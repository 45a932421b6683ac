"""Each public name has an example in its docstring, and the examples run."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY_RUN

import singula
from singula.pipeline.run import Job, run
from singula.synthetic.fluorescence import make_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the finished run of the examples."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    make_dataset(folder / "data", 2, rng, n_train=2, n_val=0, n_test=0, shape=(48, 48))
    (folder / "cells.yaml").write_text(TINY_RUN.format(data=folder / "data" / "train"))
    run(Job(folder / "cells.yaml", folder / "results", "cells", gpu="cpu"))
    return folder


def examples(name: str) -> list[doctest.DocTest]:
    """Return the examples of a public name and of its public members."""
    value = getattr(singula, name)
    value = getattr(value, name) if inspect.ismodule(value) else value
    namespace = {"image": np.random.default_rng(1).integers(0, 255, (48, 48), np.uint8)}
    finder = doctest.DocTestFinder(exclude_empty=True)
    module = inspect.getmodule(value)
    return [test for test in finder.find(value, name, module, namespace) if test.examples]


@pytest.mark.parametrize("name", singula.__all__)
def test_the_examples_of_a_public_name_run(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    tests = examples(name)
    assert tests, f"singula.{name} has no example"
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test, out=output.append)
    assert not runner.failures, "".join(output)


@pytest.mark.parametrize("name", singula.__all__)
def test_every_parameter_is_described(name: str) -> None:
    value = getattr(singula, name)
    value = getattr(value, name) if inspect.ismodule(value) else value
    functions = [value]
    if inspect.isclass(value):
        members = vars(value).items()
        functions += [f for n, f in members if n[0] != "_" and inspect.isfunction(f)]
    for function in functions:
        text = (inspect.getdoc(function) or "").partition("Returns\n---")[0]
        described = {
            part.strip()
            for line in text.splitlines()
            if " : " in line and line[0] != " "
            for part in line.partition(" : ")[0].split(",")
        }
        missing = set(inspect.signature(function).parameters) - described - {"self"}
        assert not missing, f"{function.__qualname__}: {missing}"


def test_every_public_name_is_in_the_reference() -> None:
    root = Path(__file__).parents[2] / "docs"
    pages = [root / "python.md", *(root / "reference").glob("*.md")]
    listed = re.findall(r"^::: ([\w.]+)$", "\n".join(p.read_text() for p in pages), re.MULTILINE)
    names = {name.rpartition(".")[2] for name in listed}
    assert set(singula.__all__) <= names
