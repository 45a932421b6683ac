"""Draw the chart of `docs/sweep.md`: `python docs/make/sweep.py`.

Executes a sweep of twelve short trainings on drawn nuclei, and prints its table.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from singula.commands.sweep.execute import run_sweep
from singula.commands.sweep.plan import SweepOptions
from singula.commands.sweep.results import table_lines
from singula.synthetic.fluorescence import make_dataset
from singula.util.messages import print_messages

HERE = Path(__file__).parents[1]
CONFIG = """\
PROBLEM: {{NDIM: 2D}}
DATA:
  PATCH_SIZE: (64, 64, 1)
  TRAIN: {{PATH: {data}/train/x, GT_PATH: {data}/train/y}}
  TEST: {{LOAD_GT: True, PATH: {data}/test/x, GT_PATH: {data}/test/y, PADDING: "(16, 16)"}}
AUGMENTOR: {{ENABLE: True, ROT90: True, HFLIP: True}}
MODEL: {{FEATURE_MAPS: [8, 16, 32]}}
TRAIN: {{ENABLE: True, EPOCHS: 20, BATCH_SIZE: 4, OPTIMIZER: ADAMW}}
TEST: {{ENABLE: True}}
SYSTEM: {{NUM_WORKERS: 0}}
"""
VARIED = ("TRAIN.LR=0.001,0.004", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS=BC,BD")


def main(folder: Path = HERE) -> list[Path]:
    """Draw the chart and return its path in a list."""
    target = folder / "sweep.png"
    with tempfile.TemporaryDirectory() as temporary, print_messages(print):
        place = Path(temporary)
        rng = np.random.default_rng(3)
        make_dataset(place / "data", 2, rng, n_train=9, n_val=1, n_test=4, shape=(128, 128))
        config = place / "cells.yaml"
        config.write_text(CONFIG.format(data=place / "data"))
        options = SweepOptions(config, VARIED, folds=3, result_dir=place / "out", gpu="cpu")
        report = run_sweep(options)
        print("\n".join(table_lines(report.sweep, report.results)))
        if report.chart is None:
            raise RuntimeError("no run has a score")
        shutil.copyfile(report.chart, target)
    with Image.open(target) as picture:
        small = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(target, optimize=True)
    return [target]


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:2])))
