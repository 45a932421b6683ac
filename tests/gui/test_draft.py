"""Unsaved entries of the form, as the browser stores them."""

from __future__ import annotations

import json

import pytest

from singula.gui.draft import Draft
from singula.gui.form import Form


def test_entries_are_the_same_after_a_round_trip() -> None:
    values = {"TRAIN.EPOCHS": "12", "TRAIN.ENABLE": True, "MODEL.FEATURE_MAPS": [8, 16]}
    form = Form(dict(values), {"TRAIN.EPOCHS": "few images"}, ["# mine"], ["X: unknown"])
    draft = Draft(form, "cells.yaml", replace=True, results="out")
    again = Draft.from_json(draft.to_json())
    assert again == draft
    assert again is not None
    assert again.form.yaml() == form.yaml()


def test_wrong_values_survive_too() -> None:
    form = Form({"TRAIN.EPOCHS": "many"})
    again = Draft.from_json(Draft(form, "a.yaml", replace=False, results="").to_json())
    assert again is not None
    assert again.form.examine()[1] == form.examine()[1]


@pytest.mark.parametrize(
    "text", [None, 5, "", "[]", "{}", '{"values": 1}', "[" * 100_000, "x" * 1_000_000]
)
def test_other_texts_are_refused(text: object) -> None:
    assert Draft.from_json(text) is None


def test_unknown_keys_are_left_out() -> None:
    draft = Draft(Form({"TRAIN.EPOCHS": "3"}), "a.yaml", replace=False, results="r")
    stored = json.loads(draft.to_json())
    stored["values"]["NO.SUCH.KEY"] = 1
    assert Draft.from_json(json.dumps(stored)) == draft
