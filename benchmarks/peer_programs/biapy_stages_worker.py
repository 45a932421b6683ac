"""Run functions of BiaPy in their own environment, on request of `biapy_stages.py`.

Reads one line of JSON for each call, ``{"load": FOLDER}`` or ``{"run": STAGE}``, and answers with
one line: the CPU seconds of the call, or the error.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what BiaPy prints is not an answer

# Its distance channel knows one scale for all: "Db" is the nearest to the distance map "D".
CHANNELS = ["F", "C", "Db"]
OPTIONS = {"Db": {"norm": False, "mask_values": True}}
case = {}


def load(folder):
    for file in Path(folder).glob("*.npy"):
        case[file.stem] = np.load(file)
    case.pop("matched", None)


def encode():
    from biapy.data.pre_processing import labels_into_channels

    labels_into_channels(case["labels"][..., None], mode=CHANNELS, channel_extra_opts=OPTIONS)


def decode():
    from biapy.data.post_processing.post_processing import watershed_by_channels

    maps = np.stack([case["B"], case["C"]], -1)
    watershed_by_channels(
        data=maps if maps.ndim == 4 else maps[None],
        channels=["F", "C"],
        seed_channels=["F", "C"],
        seed_channel_ths=[0.5, 0.1],
        topo_surface_channel="F",
        growth_mask_channels=["F"],
        growth_mask_channel_ths=[0.3],
        verbose=False,
    )


def match():
    """Match at every threshold, and keep the tables for the images."""
    from biapy.utils.matching import build_tp_fp_fn_report, matching

    case["matched"] = matching(
        case["labels"], case["found"], thresh=[0.3, 0.5, 0.75], report_matches=True
    )
    for each in case["matched"]:
        build_tp_fp_fn_report(case["labels"], case["found"], each, build_color_map=False)


def color():
    from biapy.utils.matching import build_tp_fp_fn_color_map

    found = case["matched"][1]
    build_tp_fp_fn_color_map(
        case["labels"], case["found"], found["matched_pairs"], found["matched_tps"]
    )


def measure(**options):
    from biapy.data.post_processing.post_processing import measure_morphological_props_and_filter

    labels = case["labels"]
    measure_morphological_props_and_filter(
        labels.copy(),
        intensity_image=labels,
        resolution=[1, 1, 1],
        extra_props=["label", "bbox"],
        **options,
    )


def remove():
    measure(
        filter_instances=True,
        properties=[["npixels"]],
        prop_values=[[float(case["large"]) / 2]],
        comp_signs=[["lt"]],
    )


def voronoi():
    from biapy.data.post_processing.post_processing import voronoi_on_mask

    labels = case["labels"]
    volume = labels.copy() if labels.ndim == 3 else labels[None].copy()
    voronoi_on_mask(volume, np.ones(volume.shape, np.float32), th=0.5)


def repair():
    from biapy.data.post_processing.post_processing import repare_large_blobs

    repare_large_blobs(case["labels"].astype(np.int64), int(case["large"]))


STAGES = {
    "encode": encode,
    "decode": decode,
    "match": match,
    "color": color,
    "measure": measure,
    "remove": remove,
    "voronoi": voronoi,
    "repair": repair,
}


def answer(line):
    order = json.loads(line)
    if "load" in order:
        load(order["load"])
        return {"seconds": 0.0}
    began = time.process_time()
    STAGES[order["run"]]()
    return {"seconds": time.process_time() - began}


for line in sys.stdin:
    try:
        found = answer(line)
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(found), file=answers, flush=True)
