"""Measure how fast the page Tune responds: from a key press to the complete picture.

    python benchmarks/tune_page.py --side 1024 --moves 20

A run with blurred and noisy channels of synthetic nuclei is written, `singula gui` serves it,
and Chromium moves the slider of the contour. Measures decoding and scores alone, and the
waiting time in the browser.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
from scipy.ndimage import gaussian_filter

from singula.config.load import config_from_dict
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.retune import Retune
from singula.io.write import write_json, write_tiff
from singula.representations.channels import encode
from singula.synthetic.fluorescence import make_image

DRAWN = "document.querySelector('canvas')?.dataset.drawn"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def make_run(folder: Path, side: int) -> Path:
    """Write the files of a finished run with one image that the page reads."""
    rng = np.random.default_rng(0)
    made = make_image((side, side), rng)
    run = folder / "job" / "results" / "job_1"
    for part, array in (("x", made.image), ("y", made.labels)):
        write_tiff(folder / "data" / part / "one.tif", np.squeeze(array), "YX")
    maps = []
    for values in encode(made.labels, "BC").values():
        noise = gaussian_filter(rng.normal(size=values.shape), 1.0)
        maps.append(np.clip(gaussian_filter(values.astype(np.float32), 1.0) + 0.2 * noise, 0, 1))
    write_tiff(run / "per_image" / "one.tif", np.stack(maps, -1).astype(np.float32), "YXC")
    write_tiff(run / "per_image_instances" / "one.tif", made.labels, "YX")
    config = config_from_dict(
        {
            "TEST.ENABLE": True,
            "DATA.TEST.PATH": str(folder / "data" / "x"),
            "DATA.TEST.GT_PATH": str(folder / "data" / "y"),
            "DATA.TEST.LOAD_GT": True,
            "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
            "PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR": True,
        }
    )
    summary = {"job": {"id": "job_1"}, "configuration": config.dotted(), "test": {}}
    write_json(run / "run.json", summary)
    return run


def decoding(run: Path, moves: int) -> list[float]:
    """Return the seconds of decoding and scoring for each threshold."""
    results = open_results(run, Guard.of([run.parents[2]]))
    retune = Retune(results, "one", results.stages[-1])
    retune.decode({})
    seconds = []
    for limit in np.linspace(0.1, 0.6, moves):
        began = time.perf_counter()
        outcome = retune.decode({"DATA_MW_TH_CONTOUR": float(limit)})
        seconds.append(time.perf_counter() - began)
    print(f"{outcome.count} instances, {outcome.scores[1].n_true} true ones")
    return seconds


def waiting(folder: Path, run: Path, moves: int) -> list[float]:
    """Return the seconds from a key press to the picture."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "singula.cli", "gui", "--no-browser", "--root", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        address = re.search(r"http\S+", server.stdout.readline() if server.stdout else "")
        time.sleep(2)
        with sync_playwright() as tools:
            found = shutil.which("chromium")
            browser = tools.chromium.launch(executable_path=found, args=ARGUMENTS)
            tab = browser.new_page(viewport={"width": 1920, "height": 1400})
            tab.goto(address[0] if address else "")
            tab.wait_for_url(lambda url: "token" not in url)
            tab.goto(urljoin(tab.url, f"/tune?run={run}"))
            tab.wait_for_function(DRAWN)
            slider = tab.get_by_role("slider", name="Seeds: contour (C) below")
            slider.locator("[tabindex='0']").focus()
            tab.wait_for_timeout(1000)
            seconds = []
            for _ in range(moves):
                before = tab.evaluate(DRAWN)
                began = time.perf_counter()
                tab.keyboard.press("ArrowRight")
                tab.wait_for_function(f"before => {DRAWN} != before", arg=before)
                seconds.append(time.perf_counter() - began)
                tab.wait_for_timeout(300)
            browser.close()
        return seconds
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Print medians and maxima."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--moves", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder, options.side)
        for words, seconds in (
            ("decoding and scores", decoding(run, options.moves)),
            ("from key to picture", waiting(folder, run, options.moves)),
        ):
            print(f"{words}: median {np.median(seconds):.3f} s, slowest {max(seconds):.3f} s")


if __name__ == "__main__":
    main()
