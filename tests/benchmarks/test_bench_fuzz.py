"""The fuzzer counts each kind of failure, and keeps its input."""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fuzz
import fuzz_cases
from fuzz_cases import Call, Kind

from singula.errors import UserError
from singula.io.formats.table import FORMATS

if not hasattr(os, "fork"):
    pytest.skip("no processes that fork", allow_module_level=True)


def refuse(rng):
    raise UserError("no", None, "test.no")


def fail(rng):
    raise KeyError("fault")


def overwrite(rng):
    Path("file").write_text("other")


def allocate(rng):
    bytearray(1 << 40)


ENDS = {
    "success": lambda rng: None,
    "UserError": refuse,
    "exception": fail,
    "input changed": overwrite,
    "time": lambda rng: time.sleep(60),
    "memory": allocate,
    "crash": lambda rng: os.abort(),
}


def test_every_end_is_counted_and_failing_inputs_are_kept(tmp_path, monkeypatch):
    made = [
        Kind(
            end,
            ("sample",),
            ("file",),
            (Call("call", function),),
            lambda *given: None,
            weight=0.2 if end == "time" else 1.0,
        )
        for end, function in ENDS.items()
    ]
    for module in (fuzz, fuzz_cases):
        monkeypatch.setattr(module, "kinds", lambda: made)
    (tmp_path / "samples" / "sample").mkdir(parents=True)
    (tmp_path / "samples" / "sample" / "file").write_text("valid")
    options = argparse.Namespace(
        seed=0, first=0, only="", workers=2, limit=5.0, memory=512, verbose=False,
        output=tmp_path / "kept", end=math.inf, cases=40,
    )  # fmt: skip
    counts, failures = fuzz.fuzz(options, tmp_path)
    assert set(ENDS) == set(fuzz.ENDS)
    assert {kind for kind, _ in counts} == set(ENDS)
    # On a busy machine, any case can exceed the limit.
    assert all(end in (kind, "time") for kind, end in counts)
    assert len({end for _, end in counts}) > len(ENDS) // 2
    assert len(fuzz.table(counts)) == 3 + len(ENDS)
    kept = [json.loads(p.read_text())["end"] for p in (tmp_path / "kept").glob("*/failure.json")]
    assert set(kept) == set(fuzz.ENDS) - set(fuzz.HANDLED)
    assert max(map(kept.count, kept)) <= fuzz.KEPT
    assert failures.counts.total() == sum(n for (_, end), n in counts.items()
                                          if end not in fuzz.HANDLED)  # fmt: skip


def test_every_format_has_a_sample():
    assert {suffix for suffix, _ in fuzz_cases.image_writers()} == set(FORMATS)
