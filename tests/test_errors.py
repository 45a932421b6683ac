"""Errors that a user can cause."""

import pickle
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from singula.cli.app import path_argument
from singula.errors import StorageError, UserError
from singula.util.arguments import as_array
from singula.util.paths import open_regular


@pytest.mark.parametrize("kind", [UserError, StorageError])
def test_hint_and_code_survive_the_way_between_processes(kind: type[UserError]) -> None:
    sent = kind("a.tif: holds 2 series", "choose one with --series", "io.several_series")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert (received.message, received.hint, received.code) == (sent.message, sent.hint, sent.code)


def test_a_user_error_is_a_value_error_and_passes_code_that_catches_those(tmp_path: Path) -> None:
    error = UserError("a.tif: cannot be read", "copy it again", "io.unreadable")

    class Unreadable:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise error

    with pytest.raises(ValueError, match="cannot be read") as raised:
        as_array(Unreadable(), "labels")
    assert raised.value is error

    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    with pytest.raises(UserError) as refused:
        open_regular(link, follow_links=False)
    assert refused.value.code == "paths.symbolic_link"


@pytest.mark.parametrize("several", [False, True])
def test_paths_of_the_command_line_keep_the_code_and_hint_of_their_error(several: bool) -> None:
    app = typer.Typer()
    argument = path_argument("IMAGES", kind="file", help="Images.")

    @app.command()
    def one(image: Annotated[Path, argument]) -> None: ...

    many = typer.Typer()

    @many.command()
    def all_of(images: Annotated[list[Path], argument]) -> None: ...

    result = CliRunner().invoke(many if several else app, ["missing.tif"])
    assert isinstance(result.exception, UserError)
    assert result.exception.code == "paths.missing"
    assert result.exception.hint
