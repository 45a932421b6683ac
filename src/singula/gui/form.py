"""Every key of the configuration as a field, and back to a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from singula.config import Config
from singula.config.keys import Key, key_table
from singula.config.load import config_from_dict, examine_values, read_values
from singula.errors import UserError
from singula.io.write import write_text

Kind = Literal["switch", "choice", "text"]
_COMMENT_COLUMN = 44
_WORDS = {
    "SYSTEM": "Machine",
    "PROBLEM": "What to find",
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
    """One key as it is shown.

    Parameters
    ----------
    key : Key
    kind : str
        A switch for true and false, a list to choose from, or a line of text for all else.
    """

    key: Key
    kind: Kind

    @property
    def name(self) -> str:
        """Dotted key."""
        return self.key.name

    @property
    def group(self) -> str:
        """Everything of the dotted key but its last word."""
        return self.key.name.rpartition(".")[0]

    @property
    def help(self) -> str:
        """What it means, what it takes and what it is when nobody sets it."""
        takes = "" if self.kind != "text" else f" Takes {self.key.allowed}."
        return f"{self.key.description}{takes} Default: {as_text(self.key.default) or 'none'}."


def sections() -> dict[str, str]:
    """The sections of the file with what they are about, in the format's order."""
    return {name: _WORDS[name] for name in dict.fromkeys(k.partition(".")[0] for k in key_table())}


def fields(section: str = "", words: str = "") -> list[Field]:
    """Fields of a section whose name or description has all of some words.

    Parameters
    ----------
    section : str
        First word of the keys; all sections by default.
    words : str
        Separated by blanks.
    """
    wanted = words.lower().split()
    found = []
    for key in key_table().values():
        about = f"{key.name} {key.description}".lower()
        if key.name.startswith(f"{section}." if section else "") and all(
            w in about for w in wanted
        ):
            found.append(Field(key, _kind(key)))
    return found


def _kind(key: Key) -> Kind:
    if key.type == "bool":
        return "switch"
    return "choice" if key.choices else "text"


def as_text(value: Any) -> str:
    """A value as one writes it in a field; lists in brackets, nothing for none."""
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return f"[{', '.join(_item(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) and f"{value:g}" == str(value) else str(value)


def _item(value: Any) -> str:
    return repr(value) if isinstance(value, str) else as_text(value)


@dataclass
class Form:
    """The keys that a user has set, and what the schema says of them.

    Parameters
    ----------
    values : dict
        By dotted key, as entered: text, or true and false.
    comments : dict of str to str
        What is written behind a key in the file.
    heading : list of str
        Comment lines at the top.
    left_out : list of str
        What a file had that is not taken over, with line and remedy.
    """

    values: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    heading: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of_file(cls, path: Path) -> Form:
        """The form of an existing file; its comments and unknown keys are not kept.

        Raises
        ------
        UserError
            The file cannot be read.
        """
        values, left_out = read_values(path)
        return cls(values, left_out=left_out)

    def shown(self, item: Field) -> Any:
        """What stands in a field."""
        value = self.values.get(item.name, item.key.default)
        if item.kind == "switch":
            return value if isinstance(value, bool) else str(value).lower() in ("true", "yes", "on")
        if item.kind == "choice":
            words = {word.lower(): word for word in item.key.choices}
            return words.get(str(value).lower(), str(value))
        return as_text(value)

    def set(self, name: str, value: Any) -> None:
        """Take what was entered; what is as by default and was not set stays unset."""
        key = key_table()[name]
        if key.type.endswith("or None") and isinstance(value, str) and not value.strip():
            value = None
        entered = value if isinstance(value, bool) or value is None else str(value)
        if name not in self.values and entered == _plain(key.default):
            return
        self.values[name] = entered
        # A reason belongs to the value that it was given for.
        self.comments.pop(name, None)

    def reset(self, name: str) -> None:
        """Leave a key to its default."""
        self.values.pop(name, None)
        self.comments.pop(name, None)

    def examine(self) -> tuple[Config, dict[str, str], list[str]]:
        """The configuration, the error of each key, and notices; see `examine_values`."""
        return examine_values(self.values)

    def config(self) -> Config:
        """The configuration.

        Raises
        ------
        UserError
            With every problem.
        """
        return config_from_dict(self.values, source="")

    def yaml(self) -> str:
        """The file: the keys that were set, with their comments.

        Raises
        ------
        UserError
            A value cannot be read.
        """
        typed = self.config().dotted()
        lines = [f"# {line}" for line in self.heading]
        seen: list[str] = []
        for name in [name for name in key_table() if name in self.values]:
            *parents, last = name.split(".")
            same = 0
            while same < min(len(seen), len(parents)) and seen[same] == parents[same]:
                same += 1
            if same == 0 and lines:
                lines.append("")
            for depth in range(same, len(parents)):
                lines.append(f"{'  ' * depth}{parents[depth]}:")
            seen = parents
            text = f"{'  ' * len(parents)}{last}: {_spell(typed[name])}"
            comment = self.comments.get(name)
            lines.append(f"{text:<{_COMMENT_COLUMN}}  # {comment}" if comment else text)
        return "\n".join(lines) + "\n"

    def save(self, path: Path, *, replace: bool = False) -> Path:
        """Write the file.

        Raises
        ------
        UserError
            A value cannot be read; the file exists and is not to be replaced.
        """
        text = self.yaml()
        if path.suffix.lower() not in (".yaml", ".yml"):
            raise UserError(f"{path.name}: is no YAML file's name", f"name it {path.name}.yaml")
        if path.exists() and not replace:
            raise UserError(
                f"{path}: exists already", "choose another name, or allow to replace it"
            )
        return write_text(path, text)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool) or value is None else as_text(value)


def _spell(value: Any) -> str:
    """A value as YAML on one line."""
    import yaml

    plain = _lists(value)
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n...\n").strip()


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value
