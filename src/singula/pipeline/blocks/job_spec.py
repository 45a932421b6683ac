"""Specification of the job of an image in blocks, for all worker processes."""

from __future__ import annotations

from singula.blocks.grid import Grid
from singula.blocks.job import JobFolder
from singula.errors import UserError
from singula.io.records.blocks import PlanNote

_NOTE = "plan"


class JobSpec(PlanNote):
    """Specification of the test of an image in blocks; see `singula.io.records.PlanNote`."""

    @property
    def grid(self) -> Grid:
        """Grid of the blocks."""
        return Grid(self.shape, self.block)

    def save(self, job: JobFolder) -> None:
        """Write the specification to the job folder."""
        job.write_note(_NOTE, self)

    @staticmethod
    def is_in(job: JobFolder) -> bool:
        """Return True if the folder has a specification of any version, or is empty."""
        return job.has_note(_NOTE) or not any(job.path.glob("*"))

    @classmethod
    def load(cls, job: JobFolder) -> JobSpec | None:
        """Read the specification; return None if it does not exist or has an earlier version.

        Raises
        ------
        UserError
            The specification is damaged.
        """
        try:
            return job.find_note(_NOTE, cls)
        except UserError as error:
            if error.code == "records.missing_field":
                return None
            raise
