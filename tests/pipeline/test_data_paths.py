"""Keys of the folders of images that are not set."""

from pathlib import Path

import pytest

from singula.config import config_from_dict
from singula.errors import UserError
from singula.pipeline.provenance import check_data_paths, data_digests


def test_a_key_that_is_not_set_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_from_dict({"TRAIN.ENABLE": True})
    with pytest.raises(UserError) as refused:
        check_data_paths(config)
    assert refused.value.code == "io.no_such_folder"
    assert "DATA.TRAIN.PATH" in refused.value.message
    assert config.DATA.TRAIN.PATH not in str(refused.value)
    Path(config.DATA.TRAIN.PATH).mkdir(parents=True)
    check_data_paths(config)


def test_folders_without_digests_are_returned_as_warnings(tmp_path: Path, caplog) -> None:
    keys = {"DATA.TRAIN.PATH": str(tmp_path), "DATA.TRAIN.GT_PATH": str(tmp_path)}
    digests, warnings = data_digests(config_from_dict({"TRAIN.ENABLE": True, **keys}))
    assert not digests
    assert len(warnings) == len(keys)
    assert not caplog.records  # an error about the empty folder follows
