"""Public functions refuse wrong arguments with an error that names the argument.

`TABLE` has valid arguments of each public function. Each argument in turn is replaced by every
hostile value of its kind. A public function that is missing in the table fails the test.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_values import (
    ARRAY,
    FLAG,
    FUNCTION,
    IDS,
    INTEGER,
    ITEMS,
    LABELS,
    MAP,
    NUMBER,
    OBJECT,
    PATH,
    SPACING,
    TEXT,
    WORD,
    Argument,
    Kind,
    other_forms,
)
from selection import fast_first

from singula.config import config_from_dict
from singula.data.normalize import Normalizer
from singula.dataset.checks import Inspection
from singula.dataset.facts import Machine, PartFacts, Survey
from singula.errors import UserError
from singula.inference import Model
from singula.io.block_array import BlockArray
from singula.io.lazy import open_image
from singula.io.pairing import Pair
from singula.io.read import Header, image_layout
from singula.io.write import write_tiff
from singula.labels import Block, contacts, extents, find_background
from singula.labels.edit import LabelEditor
from singula.measure import (
    Condition,
    intensities,
    measure_instances,
    second_moments,
    select,
    shapes,
)
from singula.metrics import match, overlap
from singula.models import LayoutSettings, ModelSettings, TransformerSettings, build_model
from singula.pipeline import from_config
from singula.pipeline.postprocess import post_settings
from singula.pipeline.readers import reader_for
from singula.prediction import Predictor
from singula.representations.channels import EncodeSettings
from singula.representations.decoders import DECODERS, DecodeSettings, histogram
from singula.representations.decoders.settings import KEYWORDS
from singula.tuning import Example, Run, Tuner, TuneResult

PACKAGES = (
    "singula",
    "singula.inference",
    "singula.tuning",
    "singula.config",
    "singula.data.channel_store",
    "singula.data.normalize",
    "singula.dataset.checks",
    "singula.io.read",
    "singula.io.lazy",
    "singula.io.block_array",
    "singula.io.write",
    "singula.models",
    "singula.autoconfig",
    "singula.prediction.median_filters",
    "singula.report.build",
    "singula.blocks",
    "singula.dataset.facts",
    "singula.representations.channels",
    "singula.metrics",
    "singula.exports",
    "singula.representations.decoders",
    "singula.measure",
    "singula.labels",
)
RECORDS = {
    "singula": "Model",
    "singula.config": "Config Key",
    "singula.data.normalize": "Scaling Statistics",
    "singula.dataset.checks": "Finding FixReport InspectedPart Inspection Kind Place",
    "singula.io.lazy": "LazyImage",
    "singula.io.read": "Header Image",
    "singula.inference": "Model ModelInfo",
    "singula.autoconfig": "Choice Proposal",
    "singula.dataset.facts": "Folders ImageFacts LabelFacts Machine Objects PartFacts Survey",
    "singula.tuning": "Example Run Steps Trial TuneResult",
    "singula.representations.channels": "Channel Extent",
    "singula.metrics": "Match Overlap Ratio Score Splits",
    "singula.exports": "Outline",
    "singula.representations.decoders": "Decoded Decoder",
    "singula.measure": "Condition Intensities Moments Shapes",
    "singula.labels": "Block Contacts Extents Gaps Grown Holes Ids Repair Survey Table",
}
"""Classes of results and of rows of tables; functions that take them check their class."""

LABEL_IMAGE = np.array(
    [
        [1, 1, 0, 0, 2, 2, 0, 0],
        [1, 1, 1, 0, 2, 2, 0, 5],
        [1, 1, 1, 0, 0, 0, 0, 5],
        [0, 0, 0, 0, 3, 3, 3, 0],
        [0, 4, 4, 0, 3, 0, 3, 0],
        [0, 4, 4, 0, 3, 3, 3, 0],
    ],
    np.int32,
)
OTHER = np.roll(LABEL_IMAGE, 1, axis=1)
VOLUME = np.stack([LABEL_IMAGE] * 3)
PROBABILITY = (np.arange(48, dtype=np.float32).reshape(6, 8) % 7) / 7
NARROW = Argument(LABEL_IMAGE, LABELS)
MAPS = {"B": PROBABILITY, "C": 1 - PROBABILITY, "D": 3 * PROBABILITY, "M": PROBABILITY}


def labels(value: np.ndarray = LABEL_IMAGE, kind: Kind = LABELS) -> Argument:
    """Return an argument that is a label image."""
    return Argument(value, kind)


def maps_kind(*needed: str) -> Kind:
    """Return the kind of a mapping of maps, each of which can be wrong."""
    wrong = {name: value for name, value in OBJECT.wrong.items() if name != "class"}
    for needed_map in needed:
        for name, value in MAP.wrong.items():
            wrong[f"{needed_map}: {name}"] = {**MAPS, needed_map: value}
        wrong[f"{needed_map} is missing"] = {k: v for k, v in MAPS.items() if k not in needed}
        wrong[f"{needed_map} of another shape"] = {**MAPS, needed_map: PROBABILITY[:3]}
    return Kind(wrong)


@functools.cache
def _overlap() -> Any:
    return overlap(LABEL_IMAGE, OTHER)


@functools.cache
def _match() -> Any:
    return match(LABEL_IMAGE, OTHER, 0.5)


@functools.cache
def _table() -> Any:
    return measure_instances(LABEL_IMAGE)


def _selected() -> Any:
    return select(_table(), CONDITIONS)


CONDITIONS = ((Condition("npixels", "lt", 5.0),),)
THRESHOLDS = Kind(
    {
        **{name: value for name, value in ITEMS.wrong.items() if name != "true"},
        **{f"list of {name}": [value] for name, value in NUMBER.wrong.items()},
        "zero": 0,
        "above one": [0.5, 1.5],
        "ragged": [[0.3, 0.5], [0.7]],
    }
).without("list")
KEYS = Kind(
    {
        **{name: value for name, value in OBJECT.wrong.items() if value is not None},
        "number as key": {3: 1},
        "unknown key": {"NOTHING": 1},
        "none": {"TH_CONTOUR": None},
        "text": {"TH_CONTOUR": "low"},
        "array": {"TH_CONTOUR": np.ones(3)},
        "nan": {"TH_CONTOUR": float("nan")},
        "type": {"TH_TYPE": 3},
        "list of types": {"TH_TYPE": np.array(["auto", "manual"])},
        "operations": {"SEED_MORPH_SEQUENCE": [3], "SEED_MORPH_RADIUS": [1]},
        "radii": {"SEED_MORPH_SEQUENCE": ["erode"], "SEED_MORPH_RADIUS": ["x"]},
        "truth": {"ERODE_AND_DILATE_FOREGROUND": np.ones(3)},
        "size": {"REMOVE_SMALL_OBJ": 2.5},
    }
).without("dict")
EXACT = LABELS.with_values(empty=LABEL_IMAGE[:0])
ANY_SHAPE = {
    **{f"M: {name}": {"M": value} for name, value in ARRAY.wrong.items()},
    "C is missing": {"B": PROBABILITY},
    "shapes": {"B": PROBABILITY, "C": PROBABILITY[1:]},
}
CHANNELS = Kind(
    {**ITEMS.wrong, "unknown": "BX", "unknown code": ["B", "X"], "twice": ["B", "B"], "list": []}
)


def written(path: Path, text: str) -> Path:
    """Write a file, if its folder exists, and return its path."""
    if path.parent != Path():
        path.write_text(text)
    return path


def image_file(folder: Path) -> Path:
    """Write an image and return its path."""
    path = folder / "image.tif"
    if folder != Path():
        write_tiff(path, (PROBABILITY * 255).astype(np.uint8), "YX")
    return path


EXAMPLE = Example("a", (6, 8), lambda: (MAPS, LABEL_IMAGE))


@functools.cache
def _result() -> Any:
    trial = Tuner([EXAMPLE], "BC", DecodeSettings(remove_small=0)).score({})
    return TuneResult(trial, trial, {}, {}, "auto", [trial], "pq", 0.5, {})


def _run() -> Any:
    class Anything(Run):
        def __init__(self) -> None:
            pass

    return Anything()


def tune_arguments(folder: Path) -> Arguments:
    """Return the arguments of `tune` and `open_tuner`."""
    return {
        "run": Argument(folder / "missing", PATH),
        "metric": Argument("pq", WORD),
        "iou": Argument(0.5, NUMBER.with_values(zero=0, above_one=1.5)),
        "device": Argument("cpu", DEVICE),
    }


BLOCK = Argument(None, OBJECT.or_none().with_values(volume=Block.whole((3, 4, 5))))
WHOLE = Argument(Block.whole((6, 8)), OBJECT.with_values(volume=Block.whole((3, 4, 5))))
IDS_OR_ITEMS = Kind({**ITEMS.wrong, "floats": [1.5], "float array": np.ones(2)}).without("list")
INTENSITIES = Argument(PROBABILITY, MAP.without("nan").or_none())
AREA = Argument(np.ones((6, 8), bool), MAP.with_values(floats=PROBABILITY))
OPTIONS = OBJECT.without("dict").with_values(
    channel={"Q": {}}, option={"P": {"x": 1}}, value={"P": {"type": 1}}
)
ENCODE = EncodeSettings(("B", "C"))
Arguments = dict[str, Argument]

TABLE: dict[str, Callable[[Path], Arguments]] = {
    "singula.data.channel_store.ChannelStore": lambda folder: {
        "image_dir": Argument(folder / "x", PATH),
        "mask_dir": Argument(folder / "y", PATH),
        "settings": Argument(ENCODE, OBJECT),
        "image_key": Argument("A", TEXT),
        "mask_key": Argument("B", TEXT),
        "variant": Argument("", TEXT),
        "fallback": Argument(None, PATH.or_none()),
    },
    "singula.representations.channels.EncodeSettings": lambda _: {
        "channels": Argument(("B",), ITEMS),
        "contour_mode": Argument("thick", WORD),
        "spacing": Argument(None, SPACING.without("one", "four", "empty")),
        "point_radius": Argument(3, NUMBER.with_values(negative=-1)),
        "options": Argument({"P": {"dilation": 2}}, OPTIONS),
    },
    "singula.representations.channels.encode": lambda _: {
        "labels": labels(kind=EXACT),
        "channels": Argument("BC", CHANNELS),
        "spacing": Argument((1.0, 2.0), SPACING),
        "contour_mode": Argument("thick", WORD),
        "point_radius": Argument(3, NUMBER.with_values(negative=-1)),
        "options": Argument(None, OPTIONS.or_none()),
    },
    "singula.representations.channels.encode_with": lambda _: {
        "settings": Argument(EncodeSettings(("Dv2",)), OBJECT),
        "labels": labels(kind=EXACT),
        "furthest": Argument(
            {"image": 5.0},
            OBJECT.without("dict")
            .or_none()
            .with_values(negative={"image": -1.0}, text={"image": "far"}),
        ),
        "planar": Argument(None, FLAG.or_none()),
    },
    "singula.representations.channels.find_contour": lambda _: {
        "labels": labels(),
        "mode": Argument("thick", WORD),
    },
    "singula.representations.channels.measure_extent": lambda _: {
        "labels": labels(kind=EXACT),
        "settings": Argument(EncodeSettings(("Dv2",)), OBJECT),
    },
    "singula.representations.channels.needs_extent": lambda _: {
        "settings": Argument(ENCODE, OBJECT)
    },
    "singula.representations.channels.depends_on_ids": lambda _: {
        "settings": Argument(ENCODE, OBJECT)
    },
    "singula.representations.channels.parse_channels": lambda _: {
        "channels": Argument("BC", CHANNELS)
    },
    "singula.metrics.color_associations": lambda _: {
        "truth": labels(),
        "pred": labels(OTHER),
        "match": Argument(_match(), OBJECT),
    },
    "singula.metrics.fp_columns": lambda _: {"match": Argument(_match(), OBJECT)},
    "singula.metrics.gt_columns": lambda _: {"match": Argument(_match(), OBJECT)},
    "singula.metrics.iou": lambda _: {
        "truth": Argument(PROBABILITY, ARRAY),
        "pred": Argument(1 - PROBABILITY, ARRAY),
        "threshold": Argument(0.5, NUMBER),
    },
    "singula.metrics.mae": lambda _: {
        "truth": Argument(PROBABILITY, ARRAY),
        "pred": Argument(1 - PROBABILITY, ARRAY),
        "mask": Argument(PROBABILITY > 0.5, Kind({**MAP.wrong, **LABELS.wrong}).or_none()),
    },
    "singula.metrics.match": lambda _: {
        "y_true": labels(kind=LABELS.without(*["1-d", "4-d", "6-d", "0-d", "number"])),
        "y_pred": labels(OTHER),
        "thresholds": Argument((0.3, 0.5), THRESHOLDS),
    },
    "singula.metrics.match_dataset": lambda _: {
        "matches": Argument([[_match()]], ITEMS),
        "by_image": Argument(False, FLAG),
    },
    "singula.metrics.match_overlap": lambda _: {
        "table": Argument(_overlap(), OBJECT),
        "thresholds": Argument((0.3, 0.5), THRESHOLDS),
    },
    "singula.metrics.overlap": lambda _: {"truth": labels(), "pred": labels(OTHER)},
    "singula.labels.with_class_channel": lambda _: {
        "labels": labels(),
        "ids": Argument(np.array([1, 2]), IDS),
        "classes": Argument(np.array([1, 2]), IDS),
    },
    "singula.metrics.overlap_among": lambda _: {
        "table": Argument(_overlap(), OBJECT),
        "true_ids": Argument(np.array([1, 2]), IDS),
        "pred_ids": Argument(np.array([1, 2]), IDS),
    },
    "singula.metrics.score_row": lambda _: {
        "name": Argument("a", TEXT),
        "score": Argument(_match(), OBJECT),
    },
    "singula.metrics.score_rows": lambda _: {
        "matches": Argument(
            {"a": [_match()]}, OBJECT.without("dict").with_values(inside={"a": 3}, item={"a": [3]})
        ),
    },
    "singula.metrics.splits": lambda _: {"table": Argument(_overlap(), OBJECT)},
    "singula.metrics.sum_overlaps": lambda _: {"parts": Argument([_overlap()], ITEMS)},
    "singula.metrics.winning_classes": lambda _: {"votes": Argument(_overlap(), OBJECT)},
    "singula.exports.export": lambda folder: {
        "source": labels(kind=LABELS.without("text", "empty text")),
        "to": Argument("csv", WORD),
        "output": Argument(folder / "exported", PATH.without("none")),
        "spacing": Argument((1.0, 2.0), SPACING),
        "unit": Argument("µm", TEXT.or_none()),
        "overwrite": Argument(True, FLAG),
        "external_files": Argument(False, FLAG),
        "objects": Argument("predicted", WORD),
    },
    "singula.exports.sizes_from_text": lambda _: {
        "text": Argument("1,2", WORD),
        "name": Argument("text", TEXT),
    },
    "singula.exports.trace_outlines": lambda _: {
        "labels": labels(kind=LABELS.with_values(volume=VOLUME))
    },
    "singula.representations.decoders.DecodeSettings": lambda _: {
        "th_type": Argument("manual", WORD),
        "manual_keys": Argument(frozenset({"TH_CONTOUR"}), ITEMS),
        "thresholds": Argument(
            {"TH_CONTOUR": 0.5},
            OBJECT.without("dict").with_values(key={"TH": 1}, negative={"TH_CONTOUR": -1}),
        ),
        "remove_small": Argument(3, INTEGER),
        "remove_small_at_border": Argument(2, INTEGER),
        "remove_before": Argument(False, FLAG),
        "seed_morph": Argument(
            (("erode", 1.0),),
            ITEMS.with_values(
                word=(("open", 1),), radius=(("erode", "x"),), short=(("erode",),), nan=((1, 1),)
            ),
        ),
        "fore_erosion": Argument(1.0, NUMBER.with_values(negative=-1)),
        "fore_dilation": Argument(1.0, NUMBER.with_values(negative=-1)),
        "by_2d_slices": Argument(False, FLAG),
        "contour_mode": Argument("thick", WORD),
        "grow_into_contour": Argument(False, FLAG),
    },
    "singula.representations.decoders.decode": lambda _: {
        "maps": Argument(MAPS, maps_kind("B", "C")),
        "channels": Argument("BC", WORD.with_values(list=["B", "C"])),
        "settings": Argument(DecodeSettings(remove_small=0), OBJECT.or_none()),
        "spacing": Argument((1.0, 2.0), SPACING),
        "seed_filter": Argument(None, FUNCTION.or_none()),
        "keep_parts": Argument(True, FLAG),
        "method": Argument("watershed", WORD),
    },
    "singula.representations.decoders.decode_labels": lambda _: {
        "maps": Argument(MAPS, maps_kind("B", "C")),
        "channels": Argument("BC", WORD.with_values(list=["B", "C"])),
        "thresholds": Argument({"REMOVE_SMALL_OBJ": 0}, KEYS.without("list", "array")),
        "spacing": Argument((1.0, 2.0), SPACING),
        "method": Argument("watershed", WORD),
        **{keyword: Argument(0.5, NUMBER.or_none().with_values(low=-1)) for keyword in KEYWORDS},
    },
    "singula.representations.decoders.histogram": lambda _: {
        "values": Argument(PROBABILITY, ARRAY.with_values(nan=np.full((2, 2), np.nan)))
    },
    "singula.representations.decoders.histogram_channels": lambda _: {
        "decoder": Argument(DECODERS["BC"], OBJECT),
        "settings": Argument(DecodeSettings(), OBJECT),
    },
    "singula.representations.decoders.otsu_from_histogram": lambda _: {
        "counts": Argument(
            histogram(PROBABILITY),
            IDS.without("floats", "bool").with_values(nan=[np.nan], neg=[-1]),
        )
    },
    "singula.representations.decoders.resolve_thresholds": lambda _: {
        "histograms": Argument(
            {"B": histogram(PROBABILITY)},
            OBJECT.without("dict").with_values(number={"B": 3}, text={"B": "x"}),
        ),
        "settings": Argument(DecodeSettings(), OBJECT),
    },
    "singula.representations.decoders.warn_of_unused": lambda _: {
        "values": Argument({"TH_TYPE": "manual"}, OBJECT.without("dict").with_values(number={3: 1}))
    },
    "singula.measure.conditions_from_lists": lambda _: {
        "props": Argument([["area"]], ITEMS.with_values(two=[["area", "area"]], flat=["area"])),
        "values": Argument([[1.0]], ITEMS.with_values(text=[["x"]], nan=[[float("nan")]])),
        "signs": Argument([["lt"]], ITEMS.with_values(flat=["lt"])),
    },
    "singula.measure.additional_columns": lambda _: {
        "labels": labels(),
        "image": INTENSITIES,
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.measure.axis_ratio": lambda _: {
        "instances": Argument(second_moments(LABEL_IMAGE), OBJECT),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.measure.intensities": lambda _: {"labels": labels(), "image": INTENSITIES},
    "singula.measure.intensity_columns": lambda _: {
        "instances": Argument(intensities(LABEL_IMAGE, PROBABILITY), OBJECT)
    },
    "singula.measure.measure": lambda _: {
        "labels": labels(),
        "image": INTENSITIES,
        "spacing": Argument((1.0, 2.0), SPACING),
        "units": Argument("um", WORD.or_none()),
    },
    "singula.measure.measure_instances": lambda _: {
        "labels": labels(),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.measure.second_moments": lambda _: {"labels": labels(), "block": BLOCK},
    "singula.measure.measurements": lambda _: {
        "instances": Argument(shapes(LABEL_IMAGE), OBJECT),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.measure.removed_ids": lambda _: {
        "selected": Argument(_selected(), OBJECT.with_values(table=_table()))
    },
    "singula.measure.select": lambda _: {
        "table": Argument(_table(), OBJECT),
        "conditions": Argument(
            CONDITIONS,
            ITEMS.without("list").with_values(
                empty=[[]],
                nan=[[("area", "lt", float("nan"))]],
                sign=[[("area", "<", 1)]],
                prop=[[("color", "lt", 1)]],
                short=[[("area",)]],
                number=[[(1, 2, 3)]],
            ),
        ),
    },
    "singula.measure.shapes": lambda _: {
        "labels": labels(),
        "block": BLOCK,
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.labels.border_ids": lambda _: {"labels": labels(), "block": BLOCK},
    "singula.labels.clear_border": lambda _: {"labels": labels()},
    "singula.labels.close_ids": lambda _: {
        "instances": Argument(extents(LABEL_IMAGE), OBJECT),
        "radius": Argument(2.0, NUMBER.with_values(zero=0)),
        "seed_points": Argument(extents(LABEL_IMAGE), OBJECT.or_none()),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.labels.contacts": lambda _: {
        "labels": labels(),
        "large": Argument(np.array([1, 3]), IDS),
        "block": BLOCK,
    },
    "singula.labels.count_instances": lambda _: {"labels": labels()},
    "singula.labels.enclosed": lambda _: {
        "gaps": Argument(find_background(LABEL_IMAGE).gaps(), OBJECT),
        "owners": Argument(np.array([3]), IDS.or_none()),
    },
    "singula.labels.extents": lambda _: {"labels": labels(), "block": BLOCK},
    "singula.labels.fill_holes": lambda _: {
        "labels": labels(),
        "owners": Argument(np.array([3]), IDS.or_none()),
    },
    "singula.labels.find_background": lambda _: {"labels": labels(), "block": BLOCK},
    "singula.labels.growth_area": lambda _: {
        "maps": Argument({"M": PROBABILITY}, OBJECT.with_values(**ANY_SHAPE)),
        "threshold": Argument(0.5, NUMBER.with_values(negative=-0.1, above_one=1.5)),
    },
    "singula.labels.growth_foreground": lambda _: {
        "maps": Argument({"B": PROBABILITY, "C": PROBABILITY}, OBJECT.with_values(**ANY_SHAPE)),
    },
    "singula.labels.growth_threshold": lambda _: {
        "threshold": Argument(0.0, NUMBER.with_values(negative=-0.1, above_one=1.5)),
        "counts": Argument(lambda: histogram(PROBABILITY), FUNCTION),
    },
    "singula.prediction.median_filters.median_halo": lambda _: {
        "z_size": Argument(3, INTEGER.or_none().with_values(negative=-1)),
        "yz_size": Argument(3, INTEGER.or_none().with_values(negative=-1)),
    },
    **{
        f"singula.prediction.median_filters.{name}": lambda _: {
            "values": Argument(
                np.stack([PROBABILITY] * 3), Kind({**MAP.wrong, **LABELS.wrong, "2-d": PROBABILITY})
            ),
            "size": Argument(3, INTEGER.with_values(zero=0)),
        }
        for name in ("median_z", "median_yz")
    },
    "singula.labels.plan_repair": lambda _: {
        "instances": Argument(extents(LABEL_IMAGE), OBJECT),
        "contacts": Argument(contacts(LABEL_IMAGE, np.array([1])), OBJECT),
        "size": Argument(7, INTEGER.with_values(negative=-1)),
    },
    "singula.labels.recode": lambda _: {
        "labels": labels(),
        "ids": Argument(np.array([1, 2]), IDS.with_values(unsorted=np.array([2, 1]), one=[1])),
        "values": Argument(np.array([4, 5]), IDS.without("floats", "bool").with_values(one=[1])),
        "keep": Argument(False, FLAG),
    },
    "singula.labels.remove": lambda _: {
        "labels": labels(),
        "ids": Argument(np.array([1]), IDS_OR_ITEMS),
    },
    "singula.labels.remove_close_points": lambda _: {
        "labels": labels(),
        "radius": Argument(2.0, NUMBER.with_values(zero=0)),
        "seeds": Argument(LABEL_IMAGE, LABELS.or_none().with_values(volume=VOLUME)),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.labels.repair_large": lambda _: {
        "labels": labels(),
        "size": Argument(7, INTEGER.with_values(negative=-1)),
    },
    "singula.labels.survey": lambda _: {"labels": labels(), "block": BLOCK},
    "singula.labels.voronoi": lambda _: {
        "labels": labels(),
        "area": AREA,
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.labels.voronoi_block": lambda _: {
        "labels": labels(),
        "area": AREA,
        "block": WHOLE,
        "spacing": Argument((1.0, 2.0), SPACING),
    },
}


MODEL = {
    "PROBLEM.NDIM": "2D",
    "DATA.PATCH_SIZE": "(16, 16, 1)",
    "MODEL.FEATURE_MAPS": [2, 4],
    "MODEL.DROPOUT_VALUES": [0, 0],
    "MODEL.Z_DOWN": [0],
    "TRAIN.ENABLE": False,
    "TEST.ENABLE": True,
    "DATA.TEST.PATH": "x",
    "TEST.BACKEND": "torch",
}


@functools.cache
def model() -> Model:
    """Return a model of random weights."""
    import torch

    torch.manual_seed(0)
    config = config_from_dict(MODEL)
    settings = from_config.model_settings(config)
    predictor = Predictor(build_model(settings), from_config.outputs(config))
    normalizer = from_config.normalizer(config).fit([])
    reader = reader_for(config, "TEST", None)
    return Model(config, predictor, normalizer, post_settings(config), reader)


DEVICE = WORD.with_values(cuda="cuda:99", meta="meta", list=["cpu"])
SCALE = SPACING.without("one")
THRESHOLD_KEYS = KEYS.without("list", "array")
PICTURE = Argument(
    (PROBABILITY * 255).astype(np.uint8),
    MAP.with_values(
        volume=VOLUME,
        channels=np.zeros((6, 8, 3), np.uint8),
        empty=np.zeros((0, 8), np.uint8),
        nan=np.full((6, 8), np.nan),
    ),
)
PIXELS = ARRAY.with_values(**{name: MAP.wrong[name] for name in ("0-d", "1-d", "6-d")})
METHODS: dict[str, Callable[..., Any]] = {
    "singula.Normalizer.scaling": lambda **kwargs: Normalizer("scale_range").scaling(**kwargs),
    "singula.Model.instances": lambda **kwargs: model().instances(**kwargs),
    "singula.Model.confidence": lambda **kwargs: model().confidence(**kwargs),
    "singula.Model.predict": lambda **kwargs: model().predict(**kwargs),
    "singula.Model.predict_maps": lambda **kwargs: model().predict_maps(**kwargs),
    "singula.Model.restore": lambda **kwargs: model().restore(**kwargs),
    "singula.LabelEditor.__init__": lambda **kwargs: LabelEditor(**kwargs),
    "singula.LabelEditor.delete": lambda **kwargs: LabelEditor(LABEL_IMAGE).delete(**kwargs),
    "singula.LabelEditor.merge": lambda **kwargs: LabelEditor(LABEL_IMAGE).merge(**kwargs),
    "singula.LabelEditor.split": lambda **kwargs: LabelEditor(LABEL_IMAGE).split(**kwargs),
    "singula.LabelEditor.draw": lambda **kwargs: LabelEditor(VOLUME).draw(**kwargs),
    "singula.LabelEditor.reshape": lambda **kwargs: LabelEditor(VOLUME).reshape(**kwargs),
}
CLASSES = {"Model": Model, "Normalizer": Normalizer, "LabelEditor": LabelEditor}
OBJECT_ID = INTEGER.with_values(zero=0, unknown=99)
OBJECT_IDS = ITEMS.without("list").with_values(
    empty=[], zero=[0], fraction=[1.5], bool=[True], unknown=[99]
)
POSITIONS = ITEMS.with_values(
    empty=[], one=[(0, 0)], four=[(0, 0, 0, 0)] * 3, nan=[(0, 0), (3, float("nan")), (3, 3)]
)
OUTLINE = Argument([(-1, -1), (-1, 9), (9, 9), (9, -1)], POSITIONS)
PLANE = Argument(1, INTEGER.with_values(negative=-1, beyond=3))
TABLE |= {
    "singula.LabelEditor.__init__": lambda _: {
        "labels": Argument(LABEL_IMAGE, LABELS),
        "spacing": Argument((1.0, 2.0), SPACING),
    },
    "singula.LabelEditor.delete": lambda _: {"ids": Argument([1], OBJECT_IDS)},
    "singula.LabelEditor.merge": lambda _: {
        "ids": Argument([1, 2], OBJECT_IDS.with_values(same=[1, 1]))
    },
    "singula.LabelEditor.split": lambda _: {
        "number": Argument(1, OBJECT_ID),
        "points": Argument([(0, 0), (3, 2)], POSITIONS.with_values(same=[(0, 0), (0, 0)])),
    },
    "singula.LabelEditor.draw": lambda _: {"outline": OUTLINE, "plane": PLANE},
    "singula.LabelEditor.reshape": lambda _: {
        "number": Argument(1, OBJECT_ID),
        "outline": OUTLINE,
        "plane": PLANE,
        "add": Argument(True, FLAG),
    },
    "singula.Model.instances": lambda _: {
        "maps": Argument(MAPS, maps_kind("B", "C")),
        "thresholds": Argument({"REMOVE_SMALL_OBJ": 0}, THRESHOLD_KEYS),
        "spacing": Argument((1.0, 2.0), SPACING),
        "of_file": Argument(None, SPACING),
    },
    "singula.Model.confidence": lambda _: {
        "labels": Argument(LABEL_IMAGE, LABELS),
        "maps": Argument(MAPS, maps_kind("B", "C")),
    },
    "singula.Model.predict": lambda _: {
        "array": PICTURE,
        "thresholds": Argument({"REMOVE_SMALL_OBJ": 0}, THRESHOLD_KEYS),
        "spacing": Argument((1.0, 2.0), SPACING),
        "augment": Argument(False, FLAG.or_none()),
        "scale": Argument(2.0, SCALE),
    },
    "singula.Model.predict_maps": lambda _: {
        "array": PICTURE,
        "augment": Argument(False, FLAG.or_none()),
        "scale": Argument(2.0, SCALE),
    },
    "singula.Model.restore": lambda _: {
        "labels": Argument(LABEL_IMAGE, LABELS.with_values(volume=VOLUME)),
        "shape": Argument((6, 8), ITEMS.with_values(one=(6,), zero=(0, 8), floats=(1.5, 2))),
    },
    "singula.config.config_from_dict": lambda _: {
        "tree": Argument(
            MODEL,
            OBJECT.without("dict").with_values(
                number={3: 1},
                none={None: 1},
                value={"TRAIN": object()},
                array={"TRAIN.LR": LABEL_IMAGE},
            ),
        ),
        "overrides": Argument(("TRAIN.EPOCHS=3",), ITEMS),
        "source": Argument("a", TEXT),
    },
    "singula.config.known_keys": lambda _: {},
    "singula.config.load_config": lambda folder: {
        "path": Argument(written(folder / "a.yaml", json.dumps(MODEL)), PATH),
        "overrides": Argument(("TRAIN.EPOCHS=3",), ITEMS),
    },
    "singula.inference.find_model": lambda folder: {
        "path": Argument(written(folder / "a.pth", ""), PATH)
    },
    "singula.inference.gather_images": lambda folder: {
        "paths": Argument([written(folder / "a.tif", "")], ITEMS)
    },
    "singula.inference.list_models": lambda folder: {
        "folder": Argument(folder, PATH.or_none()),
    },
    "singula.inference.load": lambda folder: {
        "run_or_checkpoint": Argument(folder / "missing.pth", PATH),
        "device": Argument("cpu", DEVICE),
    },
    "singula.inference.parse_frames": lambda _: {
        "text": Argument("all", WORD.or_none().without("list")),
        "name": Argument("text", TEXT),
    },
    "singula.inference.plan_predictions": lambda folder: {
        "model": Argument(model(), OBJECT),
        "files": Argument([image_file(folder)], ITEMS),
        "output": Argument(folder / "out", PATH),
        "series": Argument(None, INTEGER.or_none().with_values(negative=-1)),
        "array": Argument("", TEXT),
        "channel": Argument("", TEXT),
        "frames": Argument(None, INTEGER.or_none().with_values(negative=-1)),
        "tables": Argument(False, FLAG),
        "overlays": Argument(False, FLAG),
        "overwrite": Argument(True, FLAG),
        "external_files": Argument(False, FLAG),
    },
    "singula.inference.predict_files": lambda folder: {
        "model": Argument(model(), OBJECT),
        "images": Argument([Pair(image_file(folder), None, "image")], ITEMS),
        "output": Argument(folder / "out", PATH),
        "augment": Argument(None, FLAG.or_none()),
        "tables": Argument(True, FLAG),
        "overlays": Argument(False, FLAG),
        "glass": Argument(False, FLAG),
        "resume": Argument(False, FLAG),
        "dask": Argument(None, TEXT.or_none()),
        "spacing": Argument(None, SPACING),
        "unit": Argument(None, TEXT.or_none()),
        "scale": Argument(None, SCALE),
        "first": Argument(1, INTEGER.with_values(zero=0)),
        "total": Argument(None, INTEGER.or_none()),
    },
    "singula.inference.scale_from_text": lambda _: {
        "text": Argument("auto", WORD.or_none().without("list")),
        "name": Argument("text", TEXT),
    },
    "singula.inference.write_package": lambda folder: {
        "run_or_checkpoint": Argument("nuclei", PATH),
        "output": Argument(folder / "nuclei.zip", PATH),
        "name": Argument("", TEXT),
        "license": Argument("", TEXT),
        "authors": Argument((), ITEMS),
        "cite": Argument((), ITEMS),
        "tags": Argument((), ITEMS),
        "image": Argument(None, PATH.or_none()),
        "overwrite": Argument(False, FLAG),
    },
    "singula.tuning.Tuner": lambda _: {
        "examples": Argument([EXAMPLE], ITEMS.with_values(none=[])),
        "channels": Argument("BC", WORD),
        "settings": Argument(DecodeSettings(), OBJECT),
        "metric": Argument("pq", WORD),
        "iou": Argument(0.5, NUMBER.with_values(zero=0, above_one=1.5)),
        "steps": Argument(None, OBJECT.or_none()),
    },
    "singula.tuning.find_run": lambda folder: {
        "folder": Argument(folder / "missing", PATH),
    },
    "singula.tuning.open_tuner": lambda folder: tune_arguments(folder),
    "singula.tuning.result_lines": lambda _: {"result": Argument(_result(), OBJECT)},
    "singula.tuning.save_thresholds": lambda _: {
        "run": Argument(_run(), OBJECT),
        "thresholds": Argument({}, KEYS.without("list", "array").with_values(list=[1])),
        "details": Argument(None, OBJECT.or_none().without("dict")),
    },
    "singula.tuning.tune": lambda folder: {
        **tune_arguments(folder),
        "save": Argument(False, FLAG),
    },
    "singula.tuning.write_configuration": lambda _: {
        "run": Argument(_run(), OBJECT),
        "thresholds": Argument({}, KEYS.without("list", "array").with_values(list=[1])),
    },
}
NDIM = INTEGER.with_values(one=1, four=4)
SIZES = ITEMS.without("list").with_values(
    negative=(-1, 8), fraction=(1.5, 8), letters=("a", 8), nan=(float("nan"), 8)
)
DTYPE = OBJECT.without("class", "array").or_none().with_values(complex="complex64", objects="O")
HEADER = Header((6, 8), np.dtype(np.uint8))
SMALL = ModelSettings(2, 1, 2, feature_maps=(2, 4), dropout=(0, 0))
CONTRADICTIONS = {
    "architecture": dataclasses.replace(SMALL, architecture="transformer"),
    "too few numbers": dataclasses.replace(SMALL, dropout=(0,)),
}


def image_arguments(folder: Path) -> Arguments:
    """Return the arguments of functions that read an image."""
    return {
        "path": Argument(image_file(folder), PATH),
        "ndim": Argument(2, NDIM),
        "channels": Argument(None, INTEGER.or_none().with_values(zero=0)),
        "allow_gray": Argument(False, FLAG),
        "arrays": Argument(None, OBJECT.or_none()),
    }


def label_arguments(folder: Path) -> Arguments:
    """Return the arguments of functions that read labels."""
    return {
        "path": Argument(image_file(folder), PATH),
        "ndim": Argument(2, NDIM),
        "classes": Argument(False, FLAG),
        "arrays": Argument(None, OBJECT.or_none()),
    }


def lazy(folder: Path) -> Any:
    """Return an image on disk."""
    return open_image(image_file(folder), 2) if folder != Path() else None


def stored_blocks(folder: Path) -> Path:
    """Begin an image that is written in blocks, and return its path."""
    path = folder / "a.zarr"
    if folder != Path() and not path.exists():
        BlockArray.create(path, (6, 8), np.uint8, ndim=2)
    return path


def data_folder(folder: Path) -> Path:
    """Write a small data set and return its folder."""
    if folder != Path():
        for name, image in (("x", 40 * LABEL_IMAGE), ("y", LABEL_IMAGE)):
            write_tiff(folder / "data" / "train" / name / "a.tif", image.astype(np.uint8), "YX")
    return folder / "data"


@functools.cache
def _survey() -> Any:
    part = PartFacts("train", Path("x"), Path("y"), (), (), (), ())
    return Survey(Path("data"), 2, 1, (part,), Machine(1, 2**30))


def proposal_arguments() -> Arguments:
    """Return the arguments that `propose` and `write_proposal` share."""
    return {
        "minutes": Argument(10.0, NUMBER.with_values(zero=0)),
        "channels": Argument("BCD", WORD.or_none()),
        "classes": Argument(2, INTEGER.with_values(zero=0).or_none()),
        "measure": Argument(None, FUNCTION.or_none()),
    }


TABLE |= {
    "singula.data.normalize.Normalizer": lambda _: {
        "kind": Argument("div", WORD),
        "per_image": Argument(True, FLAG),
        "clip": Argument(
            (1.0, 99.0), ITEMS.or_none().with_values(one=(1.0,), above=(0, 101), text=("1", "2"))
        ),
        "statistics": Argument(None, OBJECT.or_none().without("dict")),
    },
    "singula.Normalizer.scaling": lambda _: {
        "image": Argument(PROBABILITY[..., None], PIXELS),
    },
    "singula.dataset.checks.InspectSettings": lambda _: {
        "ndim": Argument(2, NDIM.or_none()),
        "channels": Argument(None, INTEGER.or_none()),
        "gray": Argument(False, FLAG),
        "n_classes": Argument(None, INTEGER.or_none()),
        "patch": Argument((8, 8), SIZES.or_none()),
        "reflect": Argument(False, FLAG),
        "scored": Argument(True, FLAG),
        "smallest": Argument(None, INTEGER.or_none()),
        "sized": Argument((), ITEMS),
        "resampled": Argument(False, FLAG),
        "external_files": Argument(False, FLAG),
        "channel": Argument("", TEXT),
    },
    "singula.dataset.checks.check_page": lambda folder: {"path": Argument(folder / "a.html", PATH)},
    "singula.dataset.checks.check_target": lambda folder: {
        "folder": Argument(folder / "new", PATH),
        "inspection": Argument(None, OBJECT.or_none()),
    },
    "singula.dataset.checks.describe": lambda _: {
        "inspection": Argument(Inspection(2, (), ()), OBJECT),
        "max_files": Argument(8, INTEGER.with_values(zero=0)),
    },
    "singula.dataset.checks.inspect_dataset": lambda folder: {
        "data": Argument(data_folder(folder), ITEMS.without("text")),
        "settings": Argument(None, OBJECT.or_none()),
        "report_progress": Argument(None, FUNCTION.or_none()),
    },
    "singula.dataset.checks.write_fixed": lambda folder: {
        "inspection": Argument(Inspection(2, (), ()), OBJECT),
        "folder": Argument(folder / "new", PATH),
    },
    "singula.dataset.checks.write_page": lambda folder: {
        "inspection": Argument(Inspection(2, (), ()), OBJECT),
        "path": Argument(folder / "a.html", PATH),
        "estimate": Argument(("a",), ITEMS),
    },
    "singula.io.lazy.boxes": lambda _: {
        "shape": Argument((6, 8), SIZES),
        "size": Argument((4, 4), SIZES.with_values(zero=(0, 4), one=(4,))),
    },
    "singula.io.lazy.open_image": lambda folder: image_arguments(folder),
    "singula.io.lazy.open_labels": lambda folder: label_arguments(folder),
    "singula.io.read.map_image": lambda folder: image_arguments(folder),
    "singula.io.read.map_labels": lambda folder: label_arguments(folder),
    "singula.io.read.read_image": lambda folder: {
        **image_arguments(folder),
    },
    "singula.io.read.read_labels": lambda folder: {
        **label_arguments(folder),
        "n_classes": Argument(None, INTEGER.or_none().with_values(negative=-1)),
    },
    "singula.io.read.read_header": lambda folder: {
        "path": Argument(image_file(folder), PATH),
        "arrays": Argument(None, OBJECT.or_none()),
        "labels": Argument(False, FLAG),
    },
    "singula.io.read.list_series": lambda folder: {
        "path": Argument(image_file(folder), PATH),
        "arrays": Argument(None, OBJECT.or_none()),
    },
    "singula.io.read.image_layout": lambda folder: {
        "path": Argument(Path("a.tif"), PATH),
        "header": Argument(HEADER, OBJECT),
        "ndim": Argument(2, NDIM),
        "channels": Argument(None, INTEGER.or_none().with_values(zero=0)),
        "allow_gray": Argument(False, FLAG),
    },
    "singula.io.read.label_layout": lambda folder: {
        "path": Argument(Path("a.tif"), PATH),
        "header": Argument(HEADER, OBJECT),
        "ndim": Argument(2, NDIM),
        "classes": Argument(False, FLAG),
    },
    "singula.io.read.file_notes": lambda _: {
        "header": Argument(HEADER, OBJECT),
        "layout": Argument(image_layout(Path("a.tif"), HEADER, 2, None), OBJECT),
        "sized": Argument(False, FLAG),
    },
    "singula.io.read.left_out_note": lambda _: {"header": Argument(HEADER, OBJECT)},
    "singula.io.read.ArrayPlace": lambda _: {
        "inside": Argument("", TEXT),
        "axes": Argument(None, TEXT.or_none()),
        "series": Argument(None, INTEGER.or_none()),
        "frame": Argument(None, INTEGER.or_none()),
        "command": Argument("run", WORD),
        "like": Argument("", TEXT),
        "external_files": Argument(False, FLAG),
        "downsample": Argument(1.0, NUMBER.with_values(zero=0)),
        "tissue_only": Argument(False, FLAG),
        "channel": Argument("", TEXT),
        "ignore": Argument("", TEXT),
        "sparse": Argument(False, FLAG),
        "color": Argument(None, INTEGER.or_none()),
    },
    "singula.io.block_array.BlockArray": lambda folder: {
        "path": Argument(stored_blocks(folder), PATH),
        "inside": Argument("", TEXT),
    },
    "singula.io.block_array.mean": lambda _: {
        "image": Argument(PROBABILITY, ARRAY),
        "halved": Argument((True, False), ITEMS.with_values(many=(True,) * 5, numbers=(1, 0))),
    },
    "singula.io.block_array.nearest": lambda _: {
        "labels": Argument(LABEL_IMAGE, ARRAY),
        "halved": Argument((True, False), ITEMS.with_values(many=(True,) * 5, numbers=(1, 0))),
    },
    "singula.io.block_array.write_hdf5_from": lambda folder: {
        "path": Argument(folder / "a.h5", PATH),
        "source": Argument(lazy(folder), OBJECT),
        "dtype": Argument(None, DTYPE),
        "name": Argument("data", TEXT),
    },
    "singula.io.block_array.write_tiff_from": lambda folder: {
        "path": Argument(folder / "a.tif", PATH),
        "source": Argument(lazy(folder), OBJECT),
        "dtype": Argument(None, DTYPE),
        "compress": Argument(True, FLAG),
    },
    "singula.io.write.write_csv": lambda folder: {
        "path": Argument(folder / "a.csv", PATH),
        "rows": Argument([{"a": 1}], ITEMS),
        "columns": Argument(("a",), ITEMS.or_none()),
    },
    "singula.io.write.write_json": lambda folder: {
        "path": Argument(folder / "a.json", PATH),
        "value": Argument({}, Kind({"object": object(), "inside": [object()], "bytes": b""})),
    },
    "singula.io.write.write_maps": lambda folder: {
        "path": Argument(folder / "a.tif", PATH),
        "maps": Argument(
            (PROBABILITY,), ITEMS.with_values(none=(), shapes=(PROBABILITY, PROBABILITY[1:]))
        ),
        "spacing": Argument((1.0, 2.0), SPACING),
        "unit": Argument("µm", TEXT.or_none()),
    },
    "singula.io.write.write_npy": lambda folder: {
        "path": Argument(folder / "a.npy", PATH),
        "array": Argument(PROBABILITY, ARRAY),
    },
    "singula.io.write.write_text": lambda folder: {
        "path": Argument(folder / "a.txt", PATH),
        "text": Argument("a", TEXT),
    },
    "singula.io.write.write_tiff": lambda folder: {
        "path": Argument(folder / "a.tif", PATH),
        "array": Argument(LABEL_IMAGE.astype(np.uint8), ARRAY),
        "axes": Argument("YX", TEXT),
        "spacing": Argument(None, ITEMS.or_none().without("list").with_values(text=("1", "2"))),
        "unit": Argument(None, TEXT.or_none()),
        "compress": Argument(True, FLAG),
    },
    "singula.models.ModelSettings": lambda _: {
        "ndim": Argument(2, NDIM),
        "in_channels": Argument(1, INTEGER.with_values(zero=0)),
        "out_channels": Argument(2, INTEGER.with_values(zero=0)),
        "n_classes": Argument(0, INTEGER.with_values(negative=-1)),
        "architecture": Argument("unet", TEXT),
        "feature_maps": Argument((2, 4), SIZES.with_values(zero=(0, 4))),
        "dropout": Argument((0, 0), ITEMS.without("list").with_values(two=(0.5, 2.0), text=("x",))),
        "z_down": Argument((0,), SIZES),
        "batch_norm": Argument(True, FLAG),
        "kernel": Argument(3, INTEGER.with_values(zero=0)),
        "upsample": Argument("convtranspose", TEXT),
        "activation": Argument("ELU", TEXT),
        "transformer": Argument(TransformerSettings(), OBJECT),
        "layout": Argument(LayoutSettings(), OBJECT),
        "units": Argument(
            (1.0, 8.0),
            ITEMS.without("list").with_values(one=(1.0,), zero=(1.0, 0.0), text=("x", "y")),
        ),
    },
    "singula.models.LayoutSettings": lambda _: {
        "program": Argument("biapy", WORD),
        **{name: Argument(False, FLAG) for name in ("per_instance", "wide_ends", "plain_bottom")},
    },
    "singula.models.TransformerSettings": lambda _: {
        **{
            name: Argument(4, INTEGER.with_values(zero=0))
            for name in ("token", "width", "layers", "heads", "every", "filters", "kernel")
        },
        "mlp_ratio": Argument(2.0, NUMBER.with_values(zero=0)),
        "eps": Argument(1e-6, NUMBER.with_values(zero=0)),
        "activation": Argument("relu", TEXT),
        "patch": Argument((8, 8), SIZES.with_values(zero=(0, 8))),
    },
    **{
        f"singula.models.{name}": lambda _: {
            "settings": Argument(SMALL, OBJECT.with_values(**CONTRADICTIONS))
        }
        for name in ("build_model", "downsampling", "receptive_radius")
    },
    "singula.models.channels_last": lambda _: {
        "network": Argument(build_model(SMALL), OBJECT),
        "ndim": Argument(2, NDIM),
    },
    "singula.models.fold_batch_norm": lambda _: {"network": Argument(build_model(SMALL), OBJECT)},
    "singula.autoconfig.propose": lambda folder: {
        "survey": Argument(_survey(), OBJECT),
        **proposal_arguments(),
        "stored": Argument(None, PATH.or_none()),
        "fixed": Argument((), ITEMS),
    },
    "singula.autoconfig.write_proposal": lambda folder: {
        "survey": Argument(_survey(), OBJECT),
        "output": Argument(folder / "a.yaml", PATH),
        "find_start": Argument(None, FUNCTION.or_none()),
        **proposal_arguments(),
    },
    "singula.report.build.build_report": lambda folder: {
        "run": Argument(folder / "missing", PATH),
        "external_files": Argument(True, FLAG),
    },
    "singula.blocks.Grid": lambda _: {
        "shape": Argument((6, 8), SIZES),
        "block": Argument((4, 4), SIZES.with_values(zero=(0, 4), one=(4,))),
    },
    "singula.blocks.JobFolder": lambda folder: {"path": Argument(folder, PATH)},
    "singula.dataset.facts.find_folders": lambda folder: {
        "root": Argument(data_folder(folder), PATH),
        "external_files": Argument(False, FLAG),
        "channel": Argument("", TEXT),
    },
    "singula.dataset.facts.survey_dataset": lambda folder: {
        "path": Argument(data_folder(folder), PATH),
        "folders": Argument(None, ITEMS.or_none()),
        "ndim": Argument(None, NDIM.or_none()),
        "max_files": Argument(None, INTEGER.or_none().with_values(zero=0)),
        "machine": Argument(None, OBJECT.or_none()),
    },
}
NEEDS_A_RUN = (
    "singula.autoconfig.propose",
    "singula.autoconfig.write_proposal",
    "singula.report.build.build_report",
    "singula.inference.load",
    "singula.tuning.find_run",
    "singula.tuning.open_tuner",
    "singula.tuning.tune",
    "singula.tuning.save_thresholds",
    "singula.tuning.write_configuration",
)
"""Functions whose valid arguments are not tried here: they need a trained network."""


def public_functions() -> dict[str, Any]:
    """Return the functions and classes that packages export, each under its first name."""
    found: dict[Any, str] = {}
    for package in (*PACKAGES[1:], PACKAGES[0]):
        module = importlib.import_module(package)
        records = RECORDS.get(package, "").split()
        for name in getattr(module, "__all__", _defined(module)):
            value = getattr(module, name)
            value = getattr(value, "measure", value) if inspect.ismodule(value) else value
            if not inspect.isclass(value) and not inspect.isfunction(value):
                continue
            if name not in records and not _is_error(value):
                found.setdefault(value, f"{package}.{name}")
    return {name: value for value, name in found.items()}


def _defined(module: Any) -> list[str]:
    own = vars(module).items()
    return [
        name
        for name, value in own
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    ]


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


FUNCTIONS = public_functions() | METHODS
SIMILAR = {"iou_sums": "iou", "mae_sums": "mae"}
TABLE |= {f"singula.metrics.{new}": TABLE[f"singula.metrics.{old}"] for new, old in SIMILAR.items()}
CASES = [(name, argument) for name in sorted(TABLE) for argument in TABLE[name](Path())]


def call(name: str, folder: Path, /, **changed: Any) -> Any:
    """Call a function with its valid arguments, some of them changed."""
    values = {key: argument.value for key, argument in TABLE[name](folder).items()} | changed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FUNCTIONS[name](**values)


def test_every_public_function_is_in_the_table() -> None:
    assert sorted(FUNCTIONS) == sorted(TABLE)
    for name, function in FUNCTIONS.items():
        owner, _, method = name.removeprefix("singula.").rpartition(".")
        known = getattr(CLASSES[owner], method) if name in METHODS else function
        parameters = [one for one in inspect.signature(known).parameters if one != "self"]
        assert sorted(TABLE[name](Path())) == sorted(parameters), name


@pytest.mark.parametrize("name", sorted(TABLE.keys() - set(NEEDS_A_RUN)))
def test_valid_arguments_are_valid(name: str, tmp_path: Path) -> None:
    call(name, tmp_path)


def names_argument(error: Exception, argument: str, value: object) -> bool:
    """Return True if a line begins with the argument, or with a key of a mapping."""
    keys = map(str, value) if isinstance(value, Mapping) else ()
    names = "|".join(map(re.escape, (argument, *keys)))
    starts = [line.partition("got")[0] for line in str(error).splitlines()]
    return any(re.search(rf"\b({names})\b", start) for start in starts)


@pytest.mark.parametrize(("name", "argument"), CASES, ids=[".".join(case) for case in CASES])
def test_a_wrong_argument_is_named(name: str, argument: str, tmp_path: Path) -> None:
    problems = []
    for described, value in TABLE[name](tmp_path)[argument].kind.wrong.items():
        try:
            result = call(name, tmp_path, **{argument: value})
        except (TypeError, UserError) as error:
            if not names_argument(error, argument, value):
                problems.append(f"{described}: {type(error).__name__}: {error}")
            elif isinstance(error, UserError) and error.code is None:
                problems.append(f"{described}: no code: {error}")
        except Exception as error:
            problems.append(f"{described}: {type(error).__name__}: {error}")
        else:
            problems.append(f"{described}: accepted, gave {type(result).__name__}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", fast_first(sorted({name for name, _ in CASES}), 30))
def test_other_forms_of_an_array_give_the_same(name: str, tmp_path: Path) -> None:
    for argument, valid in TABLE[name](tmp_path).items():
        forms = forms_of(valid.value)
        if argument in ("array", "source"):  # the type decides normalization, file type and meaning
            forms.pop("nested list", None)
        if not forms:
            continue
        expected = call(name, tmp_path)
        for described, form in forms.items():
            result = call(name, tmp_path, **{argument: form})
            assert_same(expected, result, described)


def forms_of(value: Any) -> dict[str, Any]:
    """Return other forms of an array, or of all arrays of a mapping; none for other values."""
    if isinstance(value, np.ndarray):
        return dict(other_forms(value))
    if isinstance(value, Mapping) and any(isinstance(v, np.ndarray) for v in value.values()):
        each = {key: dict(other_forms(array)) for key, array in value.items()}
        return {form: {key: each[key][form] for key in each} for form in next(iter(each.values()))}
    return {}


def native(value: Any) -> Any:
    """Return a dtype, or that of an array, in native byte order."""
    return getattr(value, "dtype", value).newbyteorder("=")


def assert_same(expected: Any, result: Any, described: str) -> None:
    """Compare arrays, tables, records and collections of them; types of numbers too."""
    import pandas as pd

    assert isinstance(expected, np.dtype) or type(expected) is type(result), described
    if isinstance(expected, np.ndarray):
        # The order in memory decides the order in which a network adds up.
        tolerance = 1e-5 if described in ("Fortran order", "nested list", "DataFrame") else 0
        np.testing.assert_allclose(result, expected, tolerance, err_msg=described)
        assert described == "nested list" or native(expected) == native(result), described
    elif isinstance(expected, np.dtype):
        assert described == "nested list" or native(expected) == native(result), described
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(expected, result)
    elif dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            values = (getattr(one, field.name) for one in (expected, result))
            assert_same(*values, described)
    elif isinstance(expected, Mapping):
        assert list(expected) == list(result), described
        for key in expected:
            assert_same(expected[key], result[key], described)
    elif isinstance(expected, list | tuple):
        assert len(expected) == len(result), described
        for one, other in zip(expected, result, strict=True):
            assert_same(one, other, described)
    else:
        assert expected == result, described
