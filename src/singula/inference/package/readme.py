"""Documentation in a model package, which people read in the BioImage Model Zoo."""

from __future__ import annotations

from collections.abc import Sequence

from singula import __version__
from singula.inference.package.description import Details, Network, citations
from singula.io.units import format_spacing
from singula.pipeline.thresholds import threshold_line
from singula.representations.channel_table import describe_channels
from singula.util.format import counted, shape_text


def readme(details: Details, network: Network, scores: Sequence[str]) -> str:
    """Return the documentation of a package as Markdown.

    Parameters
    ----------
    details : Details
        Name, license and other facts.
    network : Network
        Network and tensors.
    scores : sequence of str
        Lines about the quality of the model.
    """
    problem = network.config.PROBLEM.INSTANCE_SEG
    channels = [
        f"- `{code}`: {describe}"
        for code, describe, _ in describe_channels(network.config.decoder.channels)
    ]
    lines = [
        f"# {details.name}",
        "",
        details.summary,
        "",
        "The network predicts maps. Singula decodes them to "
        "instances with the thresholds of this package:",
        "",
        "```sh",
        "singula predict images/ --model PACKAGE.zip -o instances",
        "```",
        "",
        "## Input",
        "",
        *(f"- {line}" for line in _input_lines(network)),
        "",
        "## Output",
        "",
        f"The channels of `maps` are the channels `{problem.DATA_CHANNELS}` of Singula:",
        "",
        *channels,
        "",
    ]
    if network.settings.n_classes:
        lines += ["`classes` has the probability of each class; the first one is background.", ""]
    lines += [
        f"Decoding: {_method(network)}; {threshold_line(network.config, published=True)}",
        "",
        "## Validation",
        "",
        *(scores or ["No scores are stored in this package."]),
        "",
        "To validate the model on other images, predict them, and compare the instances with "
        "labels that were drawn by hand, for example with `singula.match`.",
        "",
        "## References",
        "",
        *(f"- {citation.text()}" for citation in citations(network)),
        *(f"- doi:{doi}" for doi in details.cite),
        "",
        f"License: {details.license or 'not stated'}. Written by Singula {__version__}.",
        "",
    ]
    return "\n".join(lines)


def _method(network: Network) -> str:
    method = network.config.decoder.method
    return method.name if method is not None else "the decoder of these channels"


def _input_lines(network: Network) -> list[str]:
    """Return lines about the images that the network expects."""
    settings, objects = network.settings, network.objects
    axes = "z, y, x" if settings.ndim == 3 else "y, x"
    planes = counted(settings.in_channels, "channel")
    lines = [f"axes {axes} with {planes}, values as stored in the file"]
    lines += [f"first {step}" for step in network.normalization.before]
    if objects.size is not None:
        diameter = shape_text(round(size, 1) for size in objects.size)
        lines.append(f"median diameter of the training objects ({axes}): {diameter} pixels")
    if objects.spacing is not None:
        size = format_spacing(objects.spacing, objects.unit)
        lines.append(f"voxel size of the training images ({axes}): {size}")
    if network.normalization.dtype != "float32":
        kind = network.normalization.dtype
        lines.append(f"data type {kind}; values of other types are divided by another number")
    halo = shape_text(size.halo for size in network.sizes)
    lines.append(
        f"the image is mirrored by {halo} pixels at each side ({axes}); these pixels are removed "
        "from the maps"
    )
    return lines
