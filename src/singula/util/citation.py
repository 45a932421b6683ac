"""Methods with the publications to cite for them; each is declared next to its code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """Publication of a method or a library.

    Parameters
    ----------
    key : str
        Key in BibTeX, such as ``ronneberger2015``.
    authors : str
        Surnames and initials, separated by semicolons: ``Otsu, N.; Weber, A.``; ``others`` stands
        for all further authors.
    title, venue : str
        Title; journal, proceedings or series.
    year : int
        Year of publication.
    doi : str
        DOI, without the address of a server.
    """

    key: str
    authors: str
    title: str
    venue: str
    year: int
    doi: str

    def text(self) -> str:
        """Return the entry of a list of references.

        Examples
        --------
        >>> Citation("otsu1979", "Otsu, N.", "A method", "Trans.", 1979, "10.1/2").text()
        'Otsu, N. A method. Trans. (1979). doi:10.1/2'
        """
        names = self.authors.split("; ")
        if names[-1] == "others":
            listed = f"{', '.join(names[:-1])} et al."
        elif len(names) > 1:
            listed = f"{', '.join(names[:-1])} & {names[-1]}"
        else:
            listed = names[0]
        return f"{listed} {self.title}. {self.venue} ({self.year}). doi:{self.doi}"

    def bibtex(self) -> str:
        """Return the entry of a BibTeX file."""
        fields = {
            "author": self.authors.replace("; ", " and "),
            "title": f"{{{self.title}}}",
            "journal": self.venue.replace("&", r"\&"),
            "year": str(self.year),
            "doi": self.doi,
        }
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@article{{{self.key},\n{lines}}}\n"


@dataclass(frozen=True)
class Method:
    """Method, as a text about a run names it.

    Parameters
    ----------
    name : str
        Name within a sentence, such as ``a U-Net``.
    citations : tuple of Citation
        Publications to cite.
    """

    name: str
    citations: tuple[Citation, ...] = ()
