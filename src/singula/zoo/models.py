"""Built-in models and their cards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_FOLDER = Path(__file__).parent


class ModelCard(BaseModel):
    """Description of a built-in model, the content of its ``model.yaml``.

    Attributes
    ----------
    title : str
        What the model finds, for a heading.
    images : str
        Images that the model is made for.
    training_data : str
        Images and labels of the training.
    license : str
        License of the training data and of the weights.
    object_size : float
        Median diameter of the training objects, in pixels.
    scored_on : str
        Images of the scores, which the training did not use.
    scores : dict of str to float
        Scores by name, such as ``F1 at IoU 0.5, mean``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    images: str
    training_data: str
    license: str
    object_size: float
    scored_on: str
    scores: dict[str, float]

    @property
    def weights_license(self) -> str:
        """SPDX identifier of the license of the weights."""
        return self.license.rpartition("weights: ")[2]


@dataclass(frozen=True)
class BuiltInModel:
    """Model that is part of the package.

    Parameters
    ----------
    name : str
        Name for ``--model`` and `singula.load`.
    checkpoint : Path
        File of the weights.
    card : ModelCard
        Description.
    """

    name: str
    checkpoint: Path
    card: ModelCard

    @property
    def origin(self) -> str:
        """Training data and license in one line."""
        return f"{self.card.title}, trained on {self.card.training_data} ({self.card.license})"


@cache
def built_in_models() -> dict[str, BuiltInModel]:
    """Return the built-in models by name."""
    import yaml

    return {
        file.parent.name: BuiltInModel(
            file.parent.name,
            file.with_name("model.pth"),
            ModelCard.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))),
        )
        for file in sorted(_FOLDER.glob("*/model.yaml"))
    }


def checkpoint_path(name: str) -> Path:
    """Return the checkpoint of a built-in model, or the path itself if it is not such a name.

    A file with the name of a built-in model takes precedence.

    Parameters
    ----------
    name : str
        Name of a built-in model, or path of a checkpoint.
    """
    path = Path(name)
    model = built_in_models().get(name)
    return path if model is None or path.is_file() else model.checkpoint


def portable_name(checkpoint: Path) -> str:
    """Return the name that refers to a checkpoint in configurations and records.

    Parameters
    ----------
    checkpoint : Path
        File of a checkpoint.

    Returns
    -------
    str
        Name of a built-in model, which is valid on each machine; for another file its absolute
        path. `checkpoint_path` returns the file.
    """
    for name, model in built_in_models().items():
        if model.checkpoint == checkpoint and checkpoint_path(name) == checkpoint:
            return name
    return str(checkpoint.absolute())
