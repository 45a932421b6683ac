"""Description of a model in the format of the BioImage Model Zoo, version 0.5."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from singula import __version__
from singula.config import Config
from singula.inference.package.normalization import Normalization
from singula.inference.package.tensors import AxisSize
from singula.io.units import NAMES
from singula.models import ModelSettings
from singula.models.variants import network_method
from singula.pipeline import from_config
from singula.pipeline.object_size import TrainedObjects
from singula.representations.channel_table import CHANNELS
from singula.training.model_package import INFO
from singula.util.citation import Citation

FORMAT_VERSION = "0.5.12"
IMAGE, MAPS, CLASSES = "image", "maps", "classes"
"""Names of the tensors."""
README, WEIGHTS, TORCHSCRIPT = "README.md", "weights.pt", "weights_torchscript.pt"
ENVIRONMENT = "environment.yaml"
Node = dict[str, Any]
_RELEASE = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_DESCRIPTION = 128  # characters that the format allows


@dataclass(frozen=True)
class Details:
    """Facts about a model that its checkpoint does not contain.

    Parameters
    ----------
    name : str
        Name of the model.
    summary : str
        Description in one or two sentences.
    license : str
        SPDX identifier of the license; empty if there is none.
    authors : tuple of str
        Names, each with an affiliation after a comma.
    cite : tuple of str
        DOIs of publications about the model.
    tags : tuple of str
        Words for a search.
    """

    name: str
    summary: str
    license: str
    authors: tuple[str, ...]
    cite: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """Trained network and the tensors that it reads and returns.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    settings : ModelSettings
        Settings of the network.
    sizes : tuple of AxisSize
        Input sizes of each spatial axis.
    normalization : Normalization
        Preprocessing of the image.
    objects : TrainedObjects
        Voxel size of the training images.
    n_parameters : int
        Number of weights.
    """

    config: Config
    settings: ModelSettings
    sizes: tuple[AxisSize, ...]
    normalization: Normalization
    objects: TrainedObjects
    n_parameters: int


def describe_model(details: Details, network: Network, files: Mapping[str, bytes]) -> Node:
    """Return the content of ``bioimageio.yaml``.

    Parameters
    ----------
    details : Details
        Name, license and other facts.
    network : Network
        Network and tensors.
    files : mapping of str to bytes
        All other files of the package.
    """
    settings = network.settings

    def file(name: str) -> Node:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    predicted = from_config.outputs(network.config)
    names = [output.name for output in predicted]
    data = [_RANGES[output.activation] for output in predicted]
    outputs = [_output(network, MAPS, names, data, file)]
    if settings.n_classes:
        classes = ["background", *(f"class {n}" for n in range(1, settings.n_classes))]
        outputs.append(
            _output(network, CLASSES, classes, [_RANGES["sigmoid"]] * len(classes), file)
        )
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": details.name,
        "description": details.summary,
        "authors": [_author(author) for author in details.authors],
        "license": details.license or None,
        "cite": [_cite(c) for c in citations(network)] + [_publication(d) for d in details.cite],
        "tags": _tags(details, settings),
        "documentation": file(README),
        "attachments": [file(INFO)],
        "inputs": [_input(network, file)],
        "outputs": outputs,
        "weights": _weights(network, file),
        "config": {
            "bioimageio": {
                "architecture_type": settings.architecture,
                "task": "instance segmentation",
                "model_parameter_count": network.n_parameters,
            },
            "singula": {
                "version": __version__,
                "description": INFO,
                "channels": network.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
            },
        },
    }


def citations(network: Network) -> list[Citation]:
    """Return the publications of the network, its channels and its decoder."""
    decoder = network.config.decoder
    cited = [*network_method(network.settings.architecture, network.settings.ndim).citations]
    for name in decoder.channels:
        cited += CHANNELS[name].citations
    if decoder.method is not None:
        cited += decoder.method.citations
    return list(dict.fromkeys(cited))


def environment() -> str:
    """Return the Conda environment in which the weights load as a network of Singula."""
    lines = ["channels:", "- conda-forge", "dependencies:", "- python>=3.11", "- pytorch", "- pip"]
    # Versions between releases are not in the package index.
    release = f"=={__version__}" if _RELEASE.fullmatch(__version__) else ""
    return "\n".join([*lines, "- pip:", f"  - singula{release}", ""])


_RANGES: dict[str, Node] = {
    "sigmoid": {"type": "float32", "range": [0.0, 1.0]},
    "tanh": {"type": "float32", "range": [-1.0, 1.0]},
    "linear": {"type": "float32"},
    "fifth": {"type": "float32"},
}


def _space(network: Network, sizes: Sequence[Node]) -> list[Node]:
    """Return the spatial axes with their sizes and, if they are known, the sizes of a voxel."""
    names = ("z", "y", "x")[-len(sizes) :]
    axes: list[Node] = [
        {"type": "space", "id": name, **size} for name, size in zip(names, sizes, strict=True)
    ]
    objects = network.objects
    if objects.spacing is not None and objects.unit in NAMES:
        for axis, width in zip(axes, objects.spacing, strict=True):
            # Readers multiply a size by the scale and divide it again; with so few digits the
            # result is exact.
            axis["scale"] = float(np.float32(width))
            axis["unit"] = NAMES[objects.unit]
    return axes


def _input(network: Network, file: Any) -> Node:
    normalization, settings = network.normalization, network.settings
    sizes = [
        {"size": {"min": s.smallest, "step": s.step} if s.step else s.smallest}
        for s in network.sizes
    ]
    names = [f"channel {n}" for n in range(1, settings.in_channels + 1)]
    before = "; ".join(normalization.before)
    return {
        "id": IMAGE,
        "description": f"first {before}"[:_MAX_DESCRIPTION] if before else "",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names if settings.in_channels > 1 else ["image"]},
            *_space(network, sizes),
        ],
        "data": {"type": normalization.dtype},
        "pad": {"mode": "reflect"},
        "preprocessing": normalization.steps,
        "test_tensor": file(f"test_{IMAGE}.npy"),
    }


def _output(
    network: Network, name: str, channels: Sequence[str], data: Sequence[Node], file: Any
) -> Node:
    axes = ("z", "y", "x")[-len(network.sizes) :]
    sizes: list[Node] = []
    for axis, size in zip(axes, network.sizes, strict=True):
        halo = {"halo": size.halo} if size.halo else {}
        sizes.append({"size": {"tensor_id": IMAGE, "axis_id": axis}, **halo})
    return {
        "id": name,
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": list(channels)},
            *_space(network, sizes),
        ],
        "data": [dict(item) for item in data],
        "test_tensor": file(f"test_{name}.npy"),
    }


def _weights(network: Network, file: Any) -> Node:
    version = torch.__version__.partition("+")[0]
    activations = [output.activation for output in from_config.outputs(network.config)]
    return {
        "pytorch_state_dict": {
            **file(WEIGHTS),
            "architecture": {
                "import_from": "singula.prediction.map_network",
                "callable": "map_network",
                "kwargs": {"model": network.settings.to_dict(), "activations": activations},
            },
            "pytorch_version": version,
            "dependencies": file(ENVIRONMENT),
        },
        "torchscript": {
            **file(TORCHSCRIPT),
            "parent": "pytorch_state_dict",
            "pytorch_version": version,
        },
    }


def _author(text: str) -> Node:
    name, _, affiliation = text.partition(",")
    return {"name": name.strip()} | ({"affiliation": affiliation.strip()} if affiliation else {})


def _cite(citation: Citation) -> Node:
    return {"text": citation.text(), "doi": citation.doi}


def _publication(doi: str) -> Node:
    return {"text": f"Publication of this model. doi:{doi}", "doi": doi}


def _tags(details: Details, settings: ModelSettings) -> list[str]:
    network = ["unet"] if "unet" in settings.architecture.lower() else []
    tags = ["instance-segmentation", f"{settings.ndim}d", "pytorch", "singula"]
    return list(dict.fromkeys([*tags, *network, settings.architecture.lower(), *details.tags]))
