"""Rules for the memory of a test, one for each stage.

`check`, `run`, `predict` and the planning of blocks use these rules, so that they agree about which
image fits into memory. The memory of the network is limited in `singula.prediction.tile_plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from singula.config import Config
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.read import read_header
from singula.pipeline import from_config
from singula.pipeline.readers import Reader, reader_for
from singula.util.format import shape_text
from singula.util.memory import free_memory

MEMORY_SHARE = 0.6
"""Share of the free memory that a test uses if SYSTEM.MAX_MEMORY is not set."""
# Bytes per pixel of a block while its maps are written
_WRITTEN_BLOCK = 3


def available_memory(config: Config) -> int:
    """Return the configured bytes of memory, or a share of the free memory."""
    return config.SYSTEM.MAX_MEMORY or int(MEMORY_SHARE * free_memory())


def map_bytes(config: Config, shape: Sequence[int]) -> int:
    """Return the bytes of all maps per pixel of an image of this spatial shape."""
    return len(from_config.channel_names(config)) * (2 if from_config.in_half(config, shape) else 4)


def whole_image_bytes(config: Config, shape: Sequence[int], itemsize: int) -> int:
    """Return the bytes to predict and decode a whole image, without the network.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    itemsize : int
        Bytes per value of the image.
    """
    decoding = config.decoder.bytes_per_pixel(in_blocks=False)
    return prod(shape) * (config.in_channels * itemsize + map_bytes(config, shape) + decoding)


def ensemble_bytes(config: Config, shape: Sequence[int]) -> int:
    """Return the additional bytes of the mean of maps, while another model predicts the image.

    Parameters
    ----------
    config : Config
        Configuration of the models.
    shape : sequence of int
        Spatial shape of the image.
    """
    classes = from_config.n_classes(config)
    values = len(from_config.channel_names(config)) + 2 * classes  # of the mean and of the model
    return 4 * prod(shape) * values


def box_bytes(config: Config, shape: Sequence[int]) -> int:
    """Return the bytes per pixel to decode a box of an image of this spatial shape."""
    return map_bytes(config, shape) + config.decoder.bytes_per_pixel(in_blocks=True)


def predicted_block_bytes(
    config: Config, shape: Sequence[int], region: Sequence[int], block: Sequence[int], pixel: int
) -> int:
    """Return the bytes to predict a block, without the network.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape, region, block : sequence of int
        Spatial shapes of the image, of the block with its halo, and of the block.
    pixel : int
        Bytes per pixel of the image.
    """
    return prod(region) * (map_bytes(config, shape) + pixel) + _WRITTEN_BLOCK * prod(block)


def needed_memory(
    config: Config, reader: Reader, pair: Pair, factors: Sequence[float] | None = None
) -> int:
    """Return `whole_image_bytes` of an image file, of which only the header is read.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    reader : Reader
        Reader of the image.
    pair : Pair
        File of the image.
    factors : sequence of float, optional
        Factors by which the axes of the image are enlarged.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    itemsize = read_header(pair.image, pair.arrays).dtype.itemsize
    shape = reader.shape(pair.image, pair.arrays)
    if factors is not None:
        shape = tuple(max(n, round(n * f)) for n, f in zip(shape, factors, strict=True))
    return whole_image_bytes(config, shape, itemsize)


def warn_if_too_large(config: Config, pairs: Sequence[Pair]) -> list[str]:
    """Return notices if the largest test image does not fit into memory.

    Files that cannot be read are skipped.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    pairs : sequence of Pair
        Files of the test images.

    Returns
    -------
    list of str
        Lines for the user; empty if all images fit.
    """
    if not config.TEST.ENABLE or config.TEST.BY_CHUNKS.ENABLE:
        return []
    reader, max_bytes, name = reader_for(config, "TEST"), 0, ""
    for pair in pairs:
        try:
            needed = needed_memory(config, reader, pair)
            shape = reader.shape(pair.image, pair.arrays)
        except UserError:
            continue
        if needed > max_bytes:
            max_bytes, name = needed, f"{pair.image} ({shape_text(shape)} pixels)"
    free = available_memory(config)
    if max_bytes <= free:
        return []
    return [
        f"memory: {name} needs about {max_bytes / 1e9:.1f} GB; {free / 1e9:.1f} GB are available",
        "  → set TEST.BY_CHUNKS.ENABLE: True to process the image block by block; run "
        "`singula check --config FILE` to estimate memory and time",
    ]
