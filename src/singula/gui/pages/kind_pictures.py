"""Small pictures of the kinds of objects, drawn as SVG."""

from __future__ import annotations

from singula.report.html import Markup, join, tag

# Centers and radii of the objects in a picture of 72 by 48, by kind
_DISKS = {
    "BC": ((14, 14, 8), (32, 30, 9), (48, 26, 8), (60, 10, 6), (12, 37, 6)),
    "BCD": tuple(
        (10 + 13 * column + 6.5 * (row % 2), 8 + 11 * row, 6.8)
        for row in range(4)
        for column in range(5 - row % 2)
    ),
    "BCM": ((18, 18, 11), (48, 28, 14)),
    "BP": tuple((6 + 17 * i % 62, 6 + 23 * i % 38, 1.8) for i in range(14)),
    "BCDv2": ((22, 24, 17), (50, 12, 5), (60, 30, 9), (45, 38, 4), (48, 25, 3)),
}
_STYLES = {"BCM": "faint"}


def kind_picture(kind: str) -> Markup:
    """Return the picture of a kind of objects; that of an unknown kind is a question mark.

    Parameters
    ----------
    kind : str
        Channels that the network learns for the objects, such as ``BCD``.
    """
    disks = [
        tag(
            "circle",
            cx=f"{x:g}",
            cy=f"{y:g}",
            r=f"{radius:g}",
            class_=_STYLES.get(kind),
        )
        for x, y, radius in _DISKS.get(kind, ())
    ]
    background = tag("rect", width=72, height=48, rx=4)
    picture = join((background, *(disks or [tag("text", "?", x=36, y=33)])))
    return tag("svg", picture, viewBox="0 0 72 48", class_="kind-picture", aria_hidden="true")
