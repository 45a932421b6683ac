"""What a process must know to work on any block of an image, in one small file."""

from __future__ import annotations

from singula.errors import UserError
from singula.io.records import PlanNote
from singula.scaleout.grid import Grid
from singula.scaleout.job import JobFolder

_NOTE = "plan"


class Plan(PlanNote):
    """How an image is tested block by block; see `singula.io.records.PlanNote`."""

    @property
    def grid(self) -> Grid:
        """The blocks."""
        return Grid(self.shape, self.block)

    def save(self, job: JobFolder) -> None:
        """Write it for the processes that work on blocks."""
        job.write_note(_NOTE, self)

    @staticmethod
    def is_in(job: JobFolder) -> bool:
        """Return True if a folder has a plan of any version, or is empty."""
        return job.has_note(_NOTE) or not any(job.path.glob("*"))

    @classmethod
    def load(cls, job: JobFolder) -> Plan | None:
        """Read what `save` wrote; None where there is no plan, or one of an earlier version.

        Raises
        ------
        UserError
            The plan is damaged.
        """
        try:
            return job.find_note(_NOTE, cls)
        except UserError as error:
            if error.code == "records.missing_field":
                return None
            raise
