"""Diagram of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.io.atomic import atomic_path
from singula.models import ModelSettings
from singula.models.outline import outline
from singula.util.format import counted, shape_text


def draw_model(
    path: Path, settings: ModelSettings, patch: Sequence[int], channels: Sequence[str]
) -> Path:
    """Draw encoder, bottleneck and decoder, with the width and shape of each level.

    Parameters
    ----------
    path : Path
        PNG file to write.
    settings : ModelSettings
        Settings of the network.
    patch : sequence of int
        Spatial shape of a training patch in pixels.
    channels : sequence of str
        Names of the output channels.

    Returns
    -------
    Path
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts, depth = outline(settings), len(settings.pooling)
    figure = Figure(figsize=(2.2 * depth + 5.0, 1.1 * depth + 2.4), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.9))
    axes.set_axis_off()
    shape = [tuple(patch)]
    for factors in settings.pooling:
        shape.append(tuple(s // f for s, f in zip(shape[-1], factors, strict=True)))

    def box(x: float, level: int, text: str, color: str) -> None:
        axes.text(
            x,
            -level,
            f"{text}\n{shape_text(shape[level])}",
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "#444444"},
        )

    def arrow(start: tuple[float, float], end: tuple[float, float], style: str) -> None:
        axes.annotate(
            "", end, start, arrowprops={"arrowstyle": "->", "linestyle": style, "color": "#666666"}
        )

    last = 2.0 * depth
    for level in range(depth):
        box(level, level, texts.encoder[level], "#dbe9f6")
        box(last - level, level, texts.decoder[level], "#e3f1dc")
        arrow((level + 0.42, -level), (last - level - 0.42, -level), "--")
        high, low = (level + 0.2, -level - 0.25), (level + 0.8, -level - 0.75)
        if texts.downward:
            arrow(high, low, "-")
        elif level:
            arrow(low, high, "-")
        arrow((last - level - 0.8, -level - 0.75), (last - level - 0.2, -level - 0.25), "-")
    if not texts.downward:
        arrow((-0.75, -0.25), (depth - 0.7, -depth), "-")
    if texts.skip:
        axes.text(depth, 0.12, texts.skip, ha="center", va="bottom", fontsize=8, color="#666666")
    box(depth, depth, texts.bottom, "#f6e7d3")
    heads = ", ".join(channels) + (
        f" + {counted(settings.n_classes, 'class', 'classes')}" if settings.n_classes else ""
    )
    axes.text(-0.75, 0, f"image\n{settings.in_channels} ch.", ha="center", va="center", fontsize=8)
    axes.text(last + 0.85, 0, heads, ha="center", va="center", fontsize=8, weight="bold")
    axes.set_xlim(-1.2, last + 1.6)
    axes.set_ylim(-depth - 0.6, 0.6)
    figure.suptitle(f"{settings.architecture} {settings.ndim}D, {texts.layers}", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    return path
