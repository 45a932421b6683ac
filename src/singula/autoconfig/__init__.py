"""Choice of a configuration from the measurements of a data set, with reasons."""

from __future__ import annotations

from singula.autoconfig.rules import MINUTES, Measure, Proposal, propose
from singula.autoconfig.setting import Choice
from singula.autoconfig.write import write_proposal

__all__ = ["MINUTES", "Choice", "Measure", "Proposal", "propose", "write_proposal"]
