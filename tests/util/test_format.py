"""Numbers and nouns in messages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import singula
from singula.metrics import match
from singula.pipeline.score import Scores, result_text
from singula.util.format import counted

SOURCE = Path(singula.__file__).parent
PLURAL = re.compile(
    r" (?:more |other |test |training )?(?:images|epochs|instances|objects|patches|files|pairs|maps"
    r"|blocks|problems|settings|processes|workers|labels|time points|channels|slices|threads|tiles"
    r"|steps|places|colors|series|arrays|frames|findings)\b(?!/)"
)
# Values that are text, such as the name of a part of a data set or of a file format
TEXT = {"name", "self.name", "kind.name", "file_format.name"}
# Counts of messages that are shown for two or more only
SEVERAL = {"len(images)", "len(problems)", "declared['images']", "len(pairs)"}
SEVERAL |= {"len(files)", "total", "_MIN_EPOCHS", "_MAX_LOCAL", "max_processes"}


def test_counted() -> None:
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert counted(1, "patch", "patches") == "1 patch"
    assert counted(3, "patch", "patches") == "3 patches"
    assert counted(12345, "pixel") == "12\u202f345 pixels"


def test_counts_and_f1_of_an_image_belong_to_the_same_stage() -> None:
    truth = np.zeros((8, 20), np.uint8)
    truth[2:6, 1:5], truth[2:6, 8:12], truth[2:6, 15:19] = 1, 2, 3
    decoded, final = truth.copy(), truth.copy()
    decoded[0, 0] = 4
    final[final == 3] = 0
    scores = Scores()
    assert result_text(1, scores, "a") == "1 instance"
    scores.matches["per_image"] = {"a": list(match(truth, decoded, (0.5,)))}
    assert result_text(4, scores, "a") == "4 instances, F1 0.857 at 0.5"
    scores.matches["per_image_post_processing"] = {"a": list(match(truth, final, (0.5,)))}
    words = "4 instances, F1 0.857 at 0.5; post-processed: 2 instances, F1 0.800 at 0.5"
    assert result_text(2, scores, "a") == words
    assert result_text(7, scores, "a", "full_image") == "7 instances"


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_nouns_in_messages_agree_with_their_numbers(path: Path) -> None:
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not isinstance(text, ast.Constant) or not isinstance(value, ast.FormattedValue):
                continue
            words = str(text.value)
            if PLURAL.match(words) and ast.unparse(value.value) not in TEXT | SEVERAL:
                wrong.append(f"{node.lineno}: {ast.unparse(value.value)}{words[:30]}")
            if re.match(r" [\w ]{1,20}\w\(s\)", words):
                wrong.append(f"{node.lineno}: {words[:30]}")
    assert not wrong
