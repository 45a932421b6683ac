"""Implementation of `singula check`: inspect data, correct a copy, and estimate a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from singula.config import Config, load_config
from singula.dataset.checks import (
    Inspection,
    InspectSettings,
    check_page,
    check_target,
    describe,
    inspect_dataset,
    write_fixed,
    write_page,
)
from singula.errors import UserError
from singula.io.run_lock import check_free, output_locks
from singula.util.format import counted
from singula.util.messages import captured_messages
from singula.util.paths import user_path
from singula.util.streams import print_line


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
    channel: str = "",
    live: bool = False,
) -> Inspection:
    """Check a data set, or the data of a configuration and the configuration itself.

    Parameters
    ----------
    dataset, config_file : Path, optional
        Folder of a data set, or a configuration; exactly one of them.
    fix : Path, optional
        New folder for a corrected copy.
    html : Path, optional
        File of the HTML page.
    timed : bool
        Time a training step and a tile for the estimate, which needs a configuration.
    gpu : str, optional
        Device for the timing.
    overrides : sequence of str
        Changed keys of the configuration, as ``KEY=VALUE``.
    external_files : bool
        Allow image files that refer to other files, as with DATA.EXTERNAL_FILES.
    channel : str
        Name or number of the channel of images, as with DATA.CHANNEL; empty for all, or for the
        channel of the configuration.
    live : bool
        Report the number of inspected files.

    Raises
    ------
    UserError
        ``check.one_input``: both or neither of `dataset` and `config_file`. Also errors in the
        configuration, missing folders, and a folder for the copy that is not empty. ``run.locked``:
        another process writes to the folder for the copy.
    """
    if (dataset is None) == (config_file is None):
        raise UserError(
            f"got {'both' if dataset else 'neither'} a folder {'and' if dataset else 'nor'} a "
            "configuration, expected one of them",
            "run singula check DATASET, or singula check --config FILE",
            "check.one_input",
        )
    dataset = None if dataset is None else user_path(dataset, "dataset")
    if fix is not None:
        fix = user_path(fix, "--fix", "output folder")
        check_target(fix)
        check_free(output_locks(fix))
    if html is not None:
        html = user_path(html, "--html", "output file")
        check_page(html)
    config, report_progress = None, _print_once_a_second() if live else None
    if config_file is not None:
        from singula.pipeline.dataset import inspect_config

        if external_files:
            overrides = [*overrides, "DATA.EXTERNAL_FILES=True"]
        if channel:
            overrides = [*overrides, f"DATA.CHANNEL={json.dumps(channel)}"]
        config = load_config(config_file, overrides)
        print_line(f"configuration: {config_file} is valid")
        inspection = inspect_config(config, report_progress=report_progress)
    elif overrides:
        raise UserError(
            "--set: got keys to change, but no configuration",
            "give the configuration with --config, or remove --set",
            "check.no_configuration",
        )
    else:
        settings = InspectSettings(external_files=external_files, channel=channel)
        inspection = inspect_dataset(dataset or Path(), settings, report_progress=report_progress)
    for line in describe(inspection):
        print_line(line)
    lines = _estimate(config, inspection, gpu, timed=timed) if config is not None else []
    if html is not None:
        print_line(f"page: {write_page(inspection, html, lines)}")
    if fix is not None:
        _fix(inspection, fix)
    return inspection


def _print_once_a_second() -> Callable[[str], None]:
    """Return a function that prints the first line, and then at most one line a second."""
    last = -math.inf

    def report_progress(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            print_line(line)

    return report_progress


def _estimate(config: Config, inspection: Inspection, gpu: str | None, *, timed: bool) -> list[str]:
    """Report and return the estimate of a run; if timing fails, without durations."""
    from singula.pipeline.estimate import estimate
    from singula.pipeline.memory import warn_if_too_large

    device, workers = None, 0
    if timed:
        from singula.training.device import choose_device, use_cores
        from singula.training.loader import loader_workers

        with captured_messages():
            device = choose_device(gpu, config.SYSTEM.DEVICE, config.TRAIN.PRECISION)
        use_cores(config.SYSTEM.NUM_CPUS)
        workers = loader_workers(config.SYSTEM.NUM_WORKERS, device.kind)
    try:
        lines = estimate(config, inspection, device, timed=timed, workers=workers).lines()
    except (RuntimeError, MemoryError) as error:
        print_line(f"a training step could not be measured: {str(error).splitlines()[0]}")
        lines = estimate(config, inspection, None, timed=False).lines()
    test_pairs = [pair for part in inspection.parts if part.name == "test" for pair in part.pairs]
    lines += warn_if_too_large(config, test_pairs)
    print_line("")
    for line in lines:
        print_line(line)
    return lines


def _fix(inspection: Inspection, folder: Path) -> None:
    """Write a corrected copy and report the keys for a configuration."""
    report = write_fixed(inspection, folder)
    print_line(
        f"corrected copy: {folder} ({counted(report.files, 'image')}, "
        f"{counted(len(report.corrected), 'label')} corrected, {len(report.left_out)} left out); "
        "the original files are unchanged"
    )
    if not report.files:
        print_line("  the copy is empty: no file can be used without changes")
        return
    for part in inspection.parts:
        key, images, labels = part.name.upper(), folder / part.name / "x", folder / part.name / "y"
        if not images.exists():
            print_line(f"  {part.name}: no files remain")
            continue
        keys = f"DATA.{key}.PATH: {images}"
        if labels.exists():
            keys += f", DATA.{key}.GT_PATH: {labels}"
        container_key = ""
        if any(pair.label == pair.image for pair in part.pairs):
            section = "TEST.BY_CHUNKS" if key == "TEST" else f"DATA.{key}"
            container_key = f", {section}.INPUT_ZARR_MULTIPLE_DATA: False"
        print_line(f"  {keys}{container_key}")
