"""Measurements of a data set: files, intensities, instances, and the machine."""

from __future__ import annotations

from singula.survey.dataset import survey_dataset
from singula.survey.facts import ImageFacts, LabelFacts, Machine, Objects, PartFacts, Survey
from singula.survey.folders import Folders, find_folders
from singula.survey.images import survey_image
from singula.survey.objects import survey_labels

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
    "survey_image",
    "survey_labels",
]
