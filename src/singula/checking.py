"""`singula check`: look at the data, say it, show it, correct a copy, estimate a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from singula.config import Config, load_config
from singula.errors import UserError
from singula.inspection import (
    Inspection,
    InspectSettings,
    check_page,
    check_target,
    describe,
    inspect_dataset,
    write_fixed,
    write_page,
)
from singula.io.run_lock import check_free, output_locks
from singula.paths import user_path
from singula.words import counted

Notify = Callable[[str], None]


def check_data(
    dataset: Path | None,
    config_file: Path | None,
    *,
    fix: Path | None = None,
    html: Path | None = None,
    timed: bool = True,
    gpu: str | None = None,
    overrides: Sequence[str] = (),
    external_files: bool = False,
    live: bool = False,
    notify: Notify,
) -> Inspection:
    """Check a data set, or the data of a configuration and the configuration itself.

    Parameters
    ----------
    dataset, config_file : Path, optional
        One of them.
    fix : Path, optional
        New folder for a corrected copy.
    html : Path, optional
        Page to write.
    timed : bool
        Measure a training step and a tile for the estimate, which only a configuration has.
    gpu : str, optional
        What to measure on.
    overrides : sequence of str
        ``KEY=VALUE`` of the configuration.
    external_files : bool
        Image files may refer to files outside, as with DATA.EXTERNAL_FILES.
    live : bool
        Say how many files are done.
    notify : callable
        Takes each line.

    Raises
    ------
    UserError
        Both or none given, mistakes in the configuration, missing folders, a folder for the copy
        that holds something. ``run.locked``: another process writes to the folder for the copy.
    """
    if (dataset is None) == (config_file is None):
        raise UserError(
            "give a folder or a configuration, not both"
            if dataset
            else "nothing to check was given",
            "singula check DATASET, or singula check --config FILE",
        )
    dataset = None if dataset is None else user_path(dataset, "dataset")
    if fix is not None:
        fix = user_path(fix, "--fix", "output folder")
        check_target(fix)
        check_free(output_locks(fix))
    if html is not None:
        html = user_path(html, "--html", "output file")
        check_page(html)
    config, progress = None, notify if live else None
    if config_file is not None:
        from singula.stages.checking import inspect_config

        if external_files:
            overrides = [*overrides, "DATA.EXTERNAL_FILES=True"]
        config = load_config(config_file, overrides, notify=notify)
        notify(f"configuration: {config_file} is sound")
        found = inspect_config(config, notify=progress)
    elif overrides:
        raise UserError(
            "--set: changes keys of a configuration, and none is given",
            "give the file with --config, or leave --set out",
            "check.no_configuration",
        )
    else:
        settings = InspectSettings(external_files=external_files)
        found = inspect_dataset(dataset or Path(), settings, notify=progress)
    for line in describe(found):
        notify(line)
    lines = _estimate(config, found, gpu, notify, timed=timed) if config is not None else []
    if html is not None:
        notify(f"page: {write_page(found, html, lines)}")
    if fix is not None:
        _fix(found, fix, notify)
    return found


def _estimate(
    config: Config, found: Inspection, gpu: str | None, notify: Notify, *, timed: bool
) -> list[str]:
    """Say what a run will take; a network that cannot be measured is no reason to fail."""
    from singula.stages.estimate import estimate
    from singula.stages.room import warn_if_too_large

    device, workers = None, 0
    if timed:
        from singula.training.device import choose_device, use_cores
        from singula.training.loader import loader_workers

        device = choose_device(gpu, config.SYSTEM.DEVICE, config.TRAIN.PRECISION, lambda line: None)
        use_cores(config.SYSTEM.NUM_CPUS)
        workers = loader_workers(config.SYSTEM.NUM_WORKERS, device.kind)
    try:
        lines = estimate(config, found, device, timed=timed, workers=workers).lines()
    except (RuntimeError, MemoryError) as error:
        notify(f"a training step could not be measured: {str(error).splitlines()[0]}")
        lines = estimate(config, found, None, timed=False).lines()
    tested = [pair for part in found.parts if part.name == "test" for pair in part.pairs]
    lines += warn_if_too_large(config, tested)
    notify("")
    for line in lines:
        notify(line)
    return lines


def _fix(found: Inspection, folder: Path, notify: Notify) -> None:
    report = write_fixed(found, folder, notify=notify)
    notify(
        f"corrected copy: {folder} ({counted(report.files, 'image')}, "
        f"{counted(len(report.corrected), 'label')} corrected, {len(report.left_out)} left out); "
        "the originals are as they were"
    )
    if not report.files:
        notify("  so the copy is empty: none of the files can be used as they are")
        return
    for part in found.parts:
        key, images, labels = part.name.upper(), folder / part.name / "x", folder / part.name / "y"
        if not images.exists():
            notify(f"  {part.name}: nothing is left")
            continue
        where = f"DATA.{key}.PATH: {images}"
        if labels.exists():
            where += f", DATA.{key}.GT_PATH: {labels}"
        apart = ""
        if any(pair.label == pair.image for pair in part.pairs):
            section = "TEST.BY_CHUNKS" if key == "TEST" else f"DATA.{key}"
            apart = f", {section}.INPUT_ZARR_MULTIPLE_DATA: False"
        notify(f"  {where}{apart}")
