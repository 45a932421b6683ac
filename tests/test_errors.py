"""Errors that a user can cause."""

import pickle

import pytest

from singula.errors import StorageError, UserError


@pytest.mark.parametrize("kind", [UserError, StorageError])
def test_hint_and_code_survive_the_way_between_processes(kind: type[UserError]) -> None:
    sent = kind("a.tif: holds 2 series", "choose one with --series", "io.several_series")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert (received.message, received.hint, received.code) == (sent.message, sent.hint, sent.code)


def test_an_error_without_a_code_has_none() -> None:
    assert UserError("a.tif: is damaged").code is None
