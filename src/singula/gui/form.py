"""Form with a field for every configuration key, and its YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from singula.autoconfig.setting import commented_yaml
from singula.config import Config
from singula.config.biapy.unsupported import NO_EFFECT
from singula.config.keys import Key, key_table
from singula.config.load import config_from_dict, examine_values, read_values
from singula.config.search_terms import matches_search
from singula.errors import UserError
from singula.io.write import write_text

Kind = Literal["switch", "choice", "text"]
_SECTION_TITLES = {
    "SYSTEM": "Machine",
    "PROBLEM": "Objects",
    "DATA": "Data",
    "AUGMENTOR": "Augmentation",
    "MODEL": "Network",
    "LOSS": "Loss",
    "TRAIN": "Training",
    "TEST": "Test",
    "PATHS": "Folders",
    "LOG": "Logs",
}


@dataclass(frozen=True)
class Field:
    """Input field of one configuration key.

    Parameters
    ----------
    key : Key
        The key.
    kind : {"switch", "choice", "text"}
        Control for booleans, for a list of choices, and for all other values.
    """

    key: Key
    kind: Kind

    @property
    def name(self) -> str:
        """Name of the key, with dots."""
        return self.key.name

    @property
    def group(self) -> str:
        """Name of the key without its last part."""
        return self.key.name.rpartition(".")[0]

    @property
    def has_effect(self) -> bool:
        """False if the key exists only for files of BiaPy."""
        return not self.key.description.startswith(NO_EFFECT)

    @property
    def help(self) -> str:
        """Description, allowed values and default of the key."""
        allowed = "" if self.kind != "text" else f" Allowed: {self.key.allowed}."
        return f"{self.key.description}{allowed} Default: {as_text(self.key.default) or 'none'}."


def sections() -> dict[str, str]:
    """Return the titles of the sections by name, in the order of the format."""
    names = dict.fromkeys(key.partition(".")[0] for key in key_table())
    return {name: _SECTION_TITLES[name] for name in names}


def fields(section: str = "", query: str = "") -> list[Field]:
    """Return the fields that match all words of a query.

    Parameters
    ----------
    section : str
        Section of the keys; all sections by default.
    query : str
        Words separated by spaces; see `matches_search`.
    """
    prefix = f"{section}." if section else ""
    return [
        Field(key, _kind(key))
        for key in key_table().values()
        if key.name.startswith(prefix) and matches_search(key, query)
    ]


def _kind(key: Key) -> Kind:
    if key.type == "bool":
        return "switch"
    return "choice" if key.choices else "text"


def as_text(value: Any) -> str:
    """Return a value as text for a field.

    Parameters
    ----------
    value : object
        Value of a key. Lists are written in brackets, None as an empty text.

    Examples
    --------
    >>> as_text((1, 2.5))
    '[1, 2.5]'
    """
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return f"[{', '.join(_item(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) and f"{value:g}" == str(value) else str(value)


def _item(value: Any) -> str:
    return repr(value) if isinstance(value, str) else as_text(value)


@dataclass
class Form:
    """Configuration keys that a user has set.

    Parameters
    ----------
    values : dict
        Entered values by dotted key: text or bool.
    comments : dict of str to str
        Comments of the keys in the file.
    heading : list of str
        Comment lines at the top of the file.
    ignored : list of str
        Descriptions of entries of an opened file that the form ignores, with line and remedy.
    """

    values: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    heading: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @classmethod
    def of_file(cls, path: Path) -> Form:
        """Return the form of an existing file, without its comments and unknown keys.

        Parameters
        ----------
        path : Path
            A YAML file.

        Raises
        ------
        UserError
            The file cannot be read.
        """
        values, ignored = read_values(path)
        return cls(values, ignored=ignored)

    def shown(self, item: Field) -> Any:
        """Return the value that a field displays."""
        value = self.values.get(item.name, item.key.default)
        if item.kind == "switch":
            return value if isinstance(value, bool) else str(value).lower() in ("true", "yes", "on")
        if item.kind == "choice":
            choices = {choice.lower(): choice for choice in item.key.choices}
            return choices.get(str(value).lower(), str(value))
        return as_text(value)

    def set(self, name: str, value: Any) -> None:
        """Set a key to an entered value.

        A key that was not set remains unset if the value equals its default.

        Parameters
        ----------
        name : str
            Dotted key.
        value : object
            Text or bool.
        """
        key = key_table()[name]
        if key.type.endswith("or None") and isinstance(value, str) and not value.strip():
            value = None
        entered = value if isinstance(value, bool) or value is None else str(value)
        if name not in self.values and entered == _plain(key.default):
            return
        self.values[name] = entered
        # The comment is the reason for the previous value.
        self.comments.pop(name, None)

    def reset(self, name: str) -> None:
        """Reset a key to its default."""
        self.values.pop(name, None)
        self.comments.pop(name, None)

    def examine(self) -> tuple[Config, dict[str, str], list[str]]:
        """Return the configuration, the error of each key, and notices, as `examine_values`."""
        return examine_values(self.values)

    def config(self) -> Config:
        """Return the configuration.

        Raises
        ------
        UserError
            ``config.invalid``: lists all problems.
        """
        return config_from_dict(self.values, source="")

    def yaml(self) -> str:
        """Return the content of the file: the keys that were set, with their comments.

        Raises
        ------
        UserError
            ``config.invalid``: lists all problems.
        """
        typed = self.config().dotted()
        names = [name for name in key_table() if name in self.values]
        values = ((n, _as_yaml(typed[n]), self.comments.get(n, "")) for n in names)
        return commented_yaml([f"# {line}" for line in self.heading], values)

    def save(self, path: Path, *, replace: bool = False) -> Path:
        """Write the file and return its path.

        Parameters
        ----------
        path : Path
            Path with the suffix .yaml or .yml.
        replace : bool
            Replace an existing file.

        Raises
        ------
        UserError
            ``config.invalid``: a value is invalid; the codes of `check_target`.
        """
        text = self.yaml()
        check_target(path, replace=replace)
        return write_text(path, text)


def check_target(path: Path, *, replace: bool = False) -> None:
    """Raise an error if a configuration cannot be saved under a path.

    Raises
    ------
    UserError
        ``gui.not_yaml``: the path has another suffix than .yaml or .yml.
        ``gui.file_exists``: the file exists, and `replace` is False.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(
            f"{path.name}: expected the suffix .yaml or .yml",
            f"rename the file to {path.name}.yaml",
            "gui.not_yaml",
        )
    if path.exists() and not replace:
        raise UserError(f"{path}: already exists", "choose another name", "gui.file_exists")


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool) or value is None else as_text(value)


def _as_yaml(value: Any) -> str:
    """Return a value as one line of YAML."""
    import yaml

    plain = _lists(value)
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n...\n").strip()


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value
