"""Choice of a configuration from the measurements of a data set, with reasons."""

from __future__ import annotations

from singula.propose.choice import Choice
from singula.propose.propose import MINUTES, Measure, Proposal, propose
from singula.propose.write import write_proposal

__all__ = ["MINUTES", "Choice", "Measure", "Proposal", "propose", "write_proposal"]
