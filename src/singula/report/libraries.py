"""Libraries that are cited if a run used them."""

from __future__ import annotations

from singula.util.citation import Citation, Method

LIBRARIES = {
    "torch": Method(
        "PyTorch",
        (
            Citation(
                "paszke2019",
                "Paszke, A.; others",
                "PyTorch: an imperative style, high-performance deep learning library",
                "arXiv",
                2019,
                "10.48550/arXiv.1912.01703",
            ),
        ),
    ),
    "numpy": Method(
        "NumPy",
        (
            Citation(
                "harris2020",
                "Harris, C. R.; others",
                "Array programming with NumPy",
                "Nature",
                2020,
                "10.1038/s41586-020-2649-2",
            ),
        ),
    ),
    "scipy": Method(
        "SciPy",
        (
            Citation(
                "virtanen2020",
                "Virtanen, P.; others",
                "SciPy 1.0: fundamental algorithms for scientific computing in Python",
                "Nature Methods",
                2020,
                "10.1038/s41592-019-0686-2",
            ),
        ),
    ),
    "scikit-image": Method(
        "scikit-image",
        (
            Citation(
                "vanderwalt2014",
                "van der Walt, S.; others",
                "scikit-image: image processing in Python",
                "PeerJ",
                2014,
                "10.7717/peerj.453",
            ),
        ),
    ),
}
"""Libraries by their name in the versions of ``run.json``."""
