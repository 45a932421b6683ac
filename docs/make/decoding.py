"""Tables of the thresholds and of the configurations of channels, from their declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec

from models import model_table
from singula.config.thresholds import KEYS
from singula.representations.channel_table import CHANNELS
from singula.representations.families import FAMILIES, planes_of
from singula.representations.table import DECODERS, find_decoder
from singula.representations.thresholds import THRESHOLDS
from singula.representations.watershed import Term, Watershed

_PLACE = re.compile(r"<!-- table: ([\w ]+) -->\n.*?<!-- end of table -->", re.DOTALL)


def with_tables(markdown: str) -> str:
    """Replace the places of tables in a page, and their links for readers of the file.

    A place begins with ``<!-- table: NAME -->`` and ends with ``<!-- end of table -->``.
    """
    tables = {
        "thresholds": threshold_table,
        "configurations": configuration_table,
        "combinations": combination_table,
        "listed channels": listed_channel_table,
        "models": model_table,
    }
    return _PLACE.sub(lambda place: tables[place[1]](), markdown)


def threshold_table() -> str:
    """Return a row for each threshold: meaning, effect, default and automatic value."""
    rows = ["| key | meaning | a larger value | default | automatic |", "|---|---|---|---|---|"]
    for name, threshold in THRESHOLDS.items():
        rules = [rule for rule in (threshold.otsu, threshold.otsu_into_contour) if rule]
        automatic = " or ".join(
            f"Otsu of `{rule.channel}`{'' if rule.factor == 1 else f' × {rule.factor:g}'}"
            for rule in rules
        )
        key = KEYS[name].rpartition(".")[2]
        cells = [
            threshold.meaning,
            threshold.larger,
            f"{threshold.default:g}",
            automatic or "never",
        ]
        rows.append(f"| `{key}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def configuration_table() -> str:
    """Return a row for each configuration of the watershed: seeds, growth mask and surface."""
    rows = ["| channels | seeds | growth mask | surface |", "|---|---|---|---|"]
    for name, decoder in DECODERS.items():
        if not isinstance(decoder, Watershed):
            continue
        growth = _formulas(decoder.growth)
        if decoder.whole:
            growth += f"; with `GROW_INTO_CONTOUR` {_formulas(decoder.whole)}"
        elif decoder.growth:
            whole = "`B + C > TH_BINARY_MASK`" if "C" in name else "`B > TH_BINARY_MASK`, dilated"
            growth += f"; with `GROW_INTO_CONTOUR` {whole}"
        if not decoder.growth:
            growth = f"everywhere{', with a background seed' if decoder.background else ''}"
        rows.append(f"| `{name}` | {_formulas(decoder.seeds)} | {growth} | `{decoder.surface}` |")
    return "\n".join(rows)


COMBINATIONS = (
    "F+C", "F+C+Db", "F+Db", "F+P", "F+T", "F+Dc", "F+C+D", "F+Dn", "F+H+V", "B+C", "F+A", "C",
    "Dc",
)  # fmt: skip


def combination_table() -> str:
    """Return a row for typical combinations of channels: seeds, growth mask and surface."""
    rows = ["| channels | seeds | growth mask | surface |", "|---|---|---|---|"]
    for name in COMBINATIONS:
        decoder = find_decoder(name, method="watershed")
        if isinstance(decoder, Watershed):
            cells = (_formulas(decoder.seeds), _formulas(decoder.growth), f"`{decoder.surface}`")
            rows.append(f"| `[{name.replace('+', ', ')}]` | {' | '.join(cells)} |")
    return "\n".join(rows)


_PREDICTED = {"binary": "probability", "flow": "component of a unit vector"}


def listed_channel_table() -> str:
    """Return a row for each channel of a list: code, meaning, prediction and options."""
    rows = ["| code | meaning | predicted as | options |", "|---|---|---|---|"]
    for channel in CHANNELS.values():
        if channel.code in ("B", "D", "Dv2"):
            continue
        predicted = _PREDICTED.get(channel.kind, "distance or offset")
        options = "<br>".join(
            f"`{option.name}` ({option.default}): {option.describe}" for option in channel.options
        )
        code = f"`{channel.list_code}`"
        if channel.listed_as:
            code += f", map `{channel.code}`"
        rows.append(f"| {code} | {channel.describe} | {predicted} | {options} |")
    for family in FAMILIES.values():
        planes = planes_of(family.code)
        if find_spec(planes[0].encoder.partition(":")[0]) is None:
            continue
        is_share = {plane.kind for plane in planes} == {"binary"}
        predicted = "probabilities" if is_share else "distances or offsets"
        options = "<br>".join(
            f"`{option.name}` ({option.default}): {option.describe}" for option in family.options
        )
        maps = f"`{planes[0].code}` to `{planes[-1].code}`"
        rows.append(
            f"| `{family.code}`, maps {maps} | {family.describe} | {predicted} | {options} |"
        )
    return "\n".join(rows)


def _formulas(terms: Iterable[Term]) -> str:
    return ", ".join(f"`{term}`" for term in terms)
