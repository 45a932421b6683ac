"""Table of the built-in models, from their cards."""

from __future__ import annotations

from singula.zoo.models import built_in_models


def model_table() -> str:
    """Return a row for each property of each built-in model."""
    parts = []
    for name, model in built_in_models().items():
        card = model.card
        size = model.checkpoint.stat().st_size / 1e6
        rows = [
            ("finds", card.title),
            ("images", card.images),
            ("training data", card.training_data),
            ("object size", f"{card.object_size:g} pixels, the median diameter in the training"),
            ("license", card.license),
            ("scores on", card.scored_on),
            *((title, f"{value:.3f}") for title, value in card.scores.items()),
            ("file size", f"{size:.1f} MB"),
        ]
        table = "\n".join(f"| {title} | {text} |" for title, text in rows)
        parts.append(f"## `{name}`\n\n| | |\n|---|---|\n{table}\n")
    return "\n".join(parts)
