"""Options of the channels, ``DATA_CHANNELS_EXTRA_OPTS``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from singula.errors import UserError
from singula.representations.channel import Channel, Option, OptionValue
from singula.representations.channel_table import CHANNELS, code_in_list
from singula.representations.families import FAMILIES, Family
from singula.util.format import show

_MAX_OPTION = 1000


def checked_options(
    options: Mapping[str, Mapping[str, object]], name: str
) -> dict[str, dict[str, OptionValue]]:
    """Return valid options by the codes of `CHANNELS`.

    Parameters
    ----------
    options : mapping of str to mapping
        Options by channel code and name.
    name : str
        Argument or configuration key, for messages.

    Raises
    ------
    UserError
        ``channels.option``: not a mapping, an unknown channel or option, or a value that is not
        allowed.
    """
    if not isinstance(options, Mapping) or not all(
        isinstance(values, Mapping) for values in options.values()
    ):
        raise _wrong_option(name, options, "options by channel", "use {'Db': {'norm': False}}")
    result: dict[str, dict[str, OptionValue]] = {}
    for code, values in options.items():
        row = FAMILIES.get(code) or CHANNELS.get(code)
        if row is None or (values and not row.options):
            rows: tuple[Channel | Family, ...] = (*CHANNELS.values(), *FAMILIES.values())
            allowed = ", ".join(_listed(each) for each in rows if each.options)
            hint = "remove the options of the channel"
            if isinstance(row, Family):
                hint += f"; write {row.expected}"
            raise _wrong_option(name, code, f"one of {allowed}", hint)
        by_name = {option.name: option for option in row.options}
        result[code] = {}
        for key, value in values.items():
            place = f"{name}.{_listed(row)}"
            if key not in by_name:
                names = ", ".join(by_name)
                raise _wrong_option(place, key, f"one of {names}", "correct the option")
            result[code][key] = _checked_value(by_name[key], value, f"{place}.{key}")
    return result


def default_options(code: str) -> dict[str, OptionValue]:
    """Return the default options of a channel or of its family.

    Parameters
    ----------
    code : str
        Key of `CHANNELS`.
    """
    channel = CHANNELS[code]
    options = FAMILIES[channel.family].options if channel.family else channel.options
    return {option.name: option.default for option in options}


def _listed(row: Channel | Family) -> str:
    return row.list_code if isinstance(row, Channel) else row.code


def parse_options(entries: Iterable[str], name: str) -> dict[str, dict[str, OptionValue]]:
    """Return the options of entries such as ``Db.norm=False``.

    Parameters
    ----------
    entries : iterable of str
        ``CODE.NAME=VALUE`` with the codes of a list of channels.
    name : str
        Configuration key, for messages.

    Raises
    ------
    UserError
        ``channels.option``: an entry of another form, or options that `checked_options` refuses.
    """
    options: dict[str, dict[str, object]] = {}
    for entry in entries:
        place, equals, value = (part.strip() for part in entry.partition("="))
        code, dot, key = place.partition(".")
        if not (equals and dot):
            raise _wrong_option(name, entry, "CODE.NAME=VALUE", "write for example Db.norm=False")
        options.setdefault(code_in_list(code), {})[key] = _literal(value)
    return checked_options(options, name)


def _literal(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _checked_value(option: Option, value: object, place: str) -> OptionValue:
    kind = type(option.default)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and value in option.allowed:
        return str(value)
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        low, high = option.bounds or (0, _MAX_OPTION)
        is_allowed = low <= value <= high and not (option.positive and value == 0)
        is_allowed = is_allowed or value == option.default
        if is_allowed and (kind is float or value == int(value)):
            return kind(value)
    low, high = option.bounds or (0, _MAX_OPTION)
    expected = {
        bool: "True or False",
        str: " or ".join(option.allowed),
        int: f"an integer from {max(low, 1) if option.positive else low} to {high}",
        float: f"a number {'above' if option.positive else 'from'} {low} to {high}",
    }[kind]
    raise _wrong_option(place, value, expected, "correct the value")


def _wrong_option(place: str, value: object, expected: str, hint: str) -> UserError:
    return UserError(f"{place}: got {show(value)}, expected {expected}", hint, "channels.option")
