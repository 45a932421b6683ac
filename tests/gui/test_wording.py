"""Options of the command line in messages of the pages."""

from __future__ import annotations

import pytest

from singula.errors import UserError
from singula.gui.control import run_number
from singula.gui.wording import page_text
from singula.tuning.trial import check_goal


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("--run_id: got 'x', expected 0 to 9", "Run number: got 'x', expected 0 to 9"),
        ("correct it, and repeat the command with --resume", "correct it, and press Resume"),
        ("restart `singula gui` with --root FOLDER", "restart `singula gui` with --root FOLDER"),
        ("the file a--name.tif is damaged", "the file a--name.tif is damaged"),
        ("`singula run --config x.yaml`", "`singula run --config x.yaml`"),
    ],
)
def test_options_become_fields(message: str, shown: str) -> None:
    assert page_text(message) == shown


def test_the_goal_of_a_search_is_named_as_on_the_page() -> None:
    with pytest.raises(UserError) as error:
        check_goal("pq", 2.0)
    assert "--" not in page_text(str(error.value))


@pytest.mark.parametrize("text", ["", None, "-2", "0", "1.5", "1e3", "²", "x"])
def test_other_than_whole_numbers_are_refused(text: object) -> None:
    with pytest.raises(UserError) as error:
        run_number(text)
    assert error.value.code == "gui.run_number"


def test_a_whole_number_is_used() -> None:
    assert [run_number(text) for text in ("1", " 12 ", 3, 4.0)] == [1, 12, 3, 4]
