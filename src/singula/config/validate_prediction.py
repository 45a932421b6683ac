"""Rules about the keys of the prediction of test images."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from singula.config.schema.root import Config
from singula.config.yaml_source import Problem
from singula.representations.channel_table import CHANNELS
from singula.representations.combination import whole_foreground
from singula.representations.families import MIN_RAYS_3D, POLYGON_LIBRARY
from singula.representations.polygons import PolygonDecoder
from singula.representations.table import DECODERS
from singula.util.format import counted, install_command, show

_SEG = "PROBLEM.INSTANCE_SEG"
_POST = "TEST.POST_PROCESSING"
_REMOVE = f"{_POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
_WITH_FOREGROUND = [name for name, row in DECODERS.items() if whole_foreground(row.channels)]
_ONLY_2D = ("circularity", "elongation")
_ONLY_3D = ("sphericity",)


def _stack(config: Config) -> Iterator[Problem]:
    if config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK and config.ndim == 3:
        yield Problem(
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK: got True with PROBLEM.NDIM 3D, expected False",
            "config.combination",
        )


def _channel_needs(config: Config) -> Iterator[Problem]:
    post, channels = config.TEST.POST_PROCESSING, config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if post.VORONOI_ON_MASK and not whole_foreground(config.decoder.channels):
        yield Problem(
            f"{_POST}.VORONOI_ON_MASK: got True with {_SEG}.DATA_CHANNELS {channels}, "
            f"expected one of {', '.join(_WITH_FOREGROUND)}, or a list with F",
            "config.combination",
        )
    growth = config.decoder.covering
    if (
        post.APPLY_MASK
        and growth
        and not any(code not in CHANNELS or CHANNELS[code].covers for code in growth)
    ):  # pixels outside of the masks get 0, which is inside of instances in these channels
        yield Problem(
            f"{_POST}.APPLY_MASK: got True with {_SEG}.DATA_CHANNELS {channels}, whose growth mask "
            f"({', '.join(sorted(growth))}) contains the background; expected a list with F",
            "config.combination",
        )
    if not post.REMOVE_CLOSE_POINTS:
        return
    if config.decoder.threshold_groups(into_contour=True)[:1] != (("TH_POINTS",),):
        yield Problem(
            f"{_POST}.REMOVE_CLOSE_POINTS: got True with {_SEG}.DATA_CHANNELS {channels}, "
            "expected BP, or other channels of which only P makes the seeds",
            "config.combination",
        )
    if not post.REMOVE_CLOSE_POINTS_RADIUS or -1 in post.REMOVE_CLOSE_POINTS_RADIUS:
        yield Problem(
            f"{_POST}.REMOVE_CLOSE_POINTS_RADIUS: got {post.REMOVE_CLOSE_POINTS_RADIUS}, "
            f"expected numbers > 0 for {_POST}.REMOVE_CLOSE_POINTS: True",
            "config.combination",
        )


def _decoder_needs(config: Config) -> Iterator[Problem]:
    """Report what polygons lack before the network is trained for them."""
    decoder, channels = config.decoder, config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if not isinstance(decoder, PolygonDecoder):
        return
    if find_spec(POLYGON_LIBRARY) is None:
        yield Problem(
            f"{_SEG}.DATA_CHANNELS: got {channels}, which needs the package {POLYGON_LIBRARY}; "
            f"{install_command(POLYGON_LIBRARY)}",
            "decode.library_missing",
        )
    if config.ndim == 3 and len(decoder.rays) < MIN_RAYS_3D:
        yield Problem(
            f"{_SEG}.DATA_CHANNELS: got {counted(len(decoder.rays), 'ray')}, expected at least "
            f"{MIN_RAYS_3D} in 3D",
            "decode.few_rays",
        )


def _remove_by_properties(config: Config) -> Iterator[Problem]:
    remove = config.TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES
    if not remove.ENABLE:
        return
    shape = [len(group) for group in remove.PROPS]
    if not shape or 0 in shape:
        yield Problem(
            f"{_REMOVE}.PROPS: got {[list(group) for group in remove.PROPS]}, expected lists of "
            "at least one property, as ENABLE, VALUES or SIGN enables the removal of instances",
            "config.combination",
        )
        return
    for key, lists in (("VALUES", remove.VALUES), ("SIGN", remove.SIGN)):
        lengths = [len(group) for group in lists]
        if lengths != shape:
            yield Problem(
                f"{_REMOVE}.{key}: got lists of {lengths} items, expected {shape}, "
                f"as in {_REMOVE}.PROPS",
                "config.length",
            )
    # Instances of stacked 2D images are volumes too.
    names, kind = (_ONLY_2D, "volumes") if config.tests_volumes else (_ONLY_3D, "2D images")
    for name in sorted({name for group in remove.PROPS for name in group if name in names}):
        yield Problem(
            f"{_REMOVE}.PROPS: got {name!r}, which is not defined for {kind}, expected another "
            "property",
            "config.combination",
        )


def _blocks(config: Config) -> Iterator[Problem]:
    """Refuse steps that need whole images if images are predicted in blocks."""
    keys = config.TEST.BY_CHUNKS
    if not keys.ENABLE:
        return
    needs_whole_image = {
        "TEST.FULL_IMG": config.TEST.FULL_IMG,
        "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK,
        "DATA.PREPROCESS.TEST": config.DATA.PREPROCESS.TEST,
        "DATA.PREPROCESS.SPACING": config.DATA.PREPROCESS.SPACING,
        f"{_SEG}.DATA_CHECK_MW": config.PROBLEM.INSTANCE_SEG.DATA_CHECK_MW,
    }
    for name, value in needs_whole_image.items():
        if not value:
            continue
        expected = "False" if value is True else "no value"
        yield Problem(
            f"{name}: got {show(value)}, expected {expected} with TEST.BY_CHUNKS.ENABLE True, as "
            "this step needs whole images",
            "config.combination",
        )
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if keys.WORKFLOW_PROCESS.ENABLE and not config.decoder.supports_blocks:
        yield Problem(
            f"TEST.BY_CHUNKS.ENABLE: got True with {_SEG}.DATA_CHANNELS {channels}, expected "
            f"False, as {_SEG}.DECODER {config.decoding_method} needs whole images",
            "config.combination",
        )
    shape = keys.BLOCK_SHAPE
    if shape and (len(shape) != config.ndim or min(shape) < 1):
        yield Problem(
            f"TEST.BY_CHUNKS.BLOCK_SHAPE: got {shape}, expected {config.ndim} sides of 1 or more, "
            "or () for an automatic choice",
            "config.length",
        )


PREDICTION_RULES = (_stack, _channel_needs, _decoder_needs, _remove_by_properties, _blocks)
