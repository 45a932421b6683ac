"""Save thresholds of the page Tune: in a file, with the model, and in the address of the page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from singula.config import Config, load_config
from singula.config.keys import key_table
from singula.config.load import config_from_dict
from singula.config.thresholds import KEYS, with_tuned
from singula.config.yaml_source import mapping_from_yaml
from singula.errors import UserError
from singula.gui.form import check_target
from singula.gui.guard import Guard
from singula.gui.results import Results
from singula.gui.retune import LABELS, PREFIX, SMALL, TYPE
from singula.io.run_folder import RETEST_FILE
from singula.io.write import write_text
from singula.pipeline.thresholds import configured
from singula.util.messages import captured_messages
from singula.util.paths import read_text_file

ORDER = "DATA_REMOVE_BEFORE_MW"
_MAX_YAML = 1 << 20  # bytes
# Keys of a file that predicts with a model
_PREDICT = {"TRAIN.ENABLE": False, "TEST.ENABLE": True, "MODEL.LOAD_CHECKPOINT": True}
_OLDER = {"DATA_REMOVE_SMALL_OBJ": SMALL, "TH_POINTS": "DATA_MW_TH_POINTS"}


def values_as_text(values: Mapping[str, float]) -> str:
    """Return thresholds as a part of an address.

    Examples
    --------
    >>> values_as_text({"DATA_MW_TH_CONTOUR": 0.2, "DATA_REMOVE_SMALL_OBJ_BEFORE": 10.0})
    'DATA_MW_TH_CONTOUR:0.2,DATA_REMOVE_SMALL_OBJ_BEFORE:10'
    """
    return ",".join(f"{key}:{value:g}" for key, value in values.items())


def values_from_text(text: str) -> dict[str, float]:
    """Return the thresholds in a text of `values_as_text`; other parts are ignored.

    Examples
    --------
    >>> values_from_text("DATA_MW_TH_CONTOUR:0.2,DATA_MW_TH_POINTS:nan,X:1")
    {'DATA_MW_TH_CONTOUR': 0.2}
    """
    values = {}
    for part in text.split(","):
        key, _, number = part.partition(":")
        with suppress(ValueError):
            value = float(number)
            if key in LABELS and isfinite(value) and value >= 0:
                values[key] = value
    return values


def original_config(results: Results, guard: Guard) -> Path | None:
    """Return the configuration file of a run, or its copy in the results; None if not found."""
    from singula.gui.runs import read_record

    tree = results.run.tree
    record, copy = read_record(tree.run), tree.only_config_file()
    is_retest = record is not None and Path(record.config).name == RETEST_FILE
    candidates = [Path(record.config)] if record is not None and not is_retest else []
    candidates += [copy] if copy is not None else []
    return next((p for p in candidates if p.is_file() and guard.allows(p)), None)


def save_configuration(
    source: Path | None, config: Config, values: Mapping[str, float], target: Path, model: Path
) -> Path:
    """Write a configuration that predicts with other thresholds, and return its path.

    The thresholds are marked as tuned. The file does not train: the thresholds suit the maps of
    this model only.

    Parameters
    ----------
    source : Path, optional
        Configuration file whose other keys are kept; by default, all keys of `config`.
    config : Config
        Configuration of the run.
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    target : Path
        File to write; it must not exist.
    model : Path
        Checkpoint of the run.

    Raises
    ------
    UserError
        The codes of `check_target`; the source cannot be read.
    """
    import yaml

    check_target(target)
    typed = _typed(values)
    tree = mapping_from_yaml(config.to_yaml(), "")
    if source is not None:
        with captured_messages():
            config = load_config(source)
        tree = mapping_from_yaml(read_text_file(source, _MAX_YAML), str(source))
    section = tree
    for name in ("PROBLEM", "INSTANCE_SEG"):
        section = section.setdefault(name, {})
    # A file must not contain two spellings of a key.
    for old, new in _OLDER.items():
        if new in typed and old in section:
            del section[old]
            if new == SMALL:  # the old spelling also sets the order of removal
                section.setdefault(ORDER, config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_BEFORE_MW)
    section.update(typed)
    changes = {**_PREDICT, "PATHS.CHECKPOINT_FILE": str(model)}
    for key, value in changes.items():
        group, _, name = key.partition(".")
        tree.setdefault(group, {})[name] = value
    predicting = config.replaced(changes, mark_set=True)
    expected = with_tuned(predicting, named_thresholds(values))
    section["TUNED_THRESHOLDS"] = list(expected.PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    if not _loads_as(tree, expected):
        text = expected.to_yaml()
    return write_text(target, text)


def save_in_checkpoint(
    results: Results,
    values: Mapping[str, float],
    guard: Guard,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Save thresholds in the checkpoint of a run, for `singula predict`, and return its path.

    Parameters
    ----------
    results : Results
        Results of the run.
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    guard : Guard
        Folders that the interface may open.
    provenance : mapping, optional
        Metric, IoU and scores of the search; by default, the thresholds are marked as chosen by
        eye.

    Raises
    ------
    UserError
        ``gui.foreign_checkpoint``: the checkpoint is not from this run.
        ``gui.outside``: the checkpoint is outside of the roots.
        The checkpoint cannot be read.
    """
    from singula.tuning import find_run, save_thresholds

    with captured_messages():
        run = find_run(results.run.tree.run)
    path = guard.check(run.checkpoint.path)
    chosen = named_thresholds(values)
    origin = dict(provenance) if provenance is not None else {"metric": "by eye"}
    if save_thresholds(run, {**configured(run.config), **chosen}, origin) is None:
        raise UserError(
            f"{path}: is not a checkpoint of this run; it was not changed",
            "save a configuration instead",
            "gui.foreign_checkpoint",
        )
    return path


def model_file(results: Results, guard: Guard) -> Path:
    """Return the checkpoint with which a run predicts.

    Parameters
    ----------
    results : Results
        Results of the run.
    guard : Guard
        Folders that the interface may open.

    Raises
    ------
    UserError
        ``gui.outside``: the checkpoint is outside of the roots.
        The checkpoint is missing or cannot be read.
    """
    from singula.tuning import find_run

    with captured_messages():
        return guard.check(find_run(results.run.tree.run).checkpoint.path)


def named_thresholds(values: Mapping[str, float]) -> dict[str, Any]:
    """Return thresholds by name without prefix, with the types of the configuration.

    Parameters
    ----------
    values : mapping of str to float
        Thresholds by key in ``PROBLEM.INSTANCE_SEG``.
    """
    names = {key.removeprefix(PREFIX): name for name, key in KEYS.items()}
    return {names[key]: value for key, value in _typed(values).items()}


def _loads_as(tree: Mapping[str, Any], expected: Config) -> bool:
    """Return True if the keys load as the expected configuration; old spellings may conflict."""
    try:
        return config_from_dict(tree) == expected
    except UserError:
        return False


def _typed(values: Mapping[str, float]) -> dict[str, Any]:
    chosen: dict[str, Any] = {TYPE: "manual"}
    for key, value in values.items():
        whole = key_table()[PREFIX + key].type == "int"
        chosen[key] = int(value) if whole else round(float(value), 4)
    return chosen
