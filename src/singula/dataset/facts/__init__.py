"""Measurements of a data set: files, intensities, instances, and the machine."""

from __future__ import annotations

from singula.dataset.facts.dataset import survey_dataset
from singula.dataset.facts.facts import ImageFacts, LabelFacts, Machine, Objects, PartFacts, Survey
from singula.dataset.facts.folders import Folders, find_folders

__all__ = [
    "Folders",
    "ImageFacts",
    "LabelFacts",
    "Machine",
    "Objects",
    "PartFacts",
    "Survey",
    "find_folders",
    "survey_dataset",
]
