"""Types of the keys about channels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, core_schema

from singula.config.values import AnyCase, complete_refusal, plain, refusal, to_text, to_tuple
from singula.errors import UserError
from singula.representations.channel_options import parse_options
from singula.representations.families import FAMILIES
from singula.representations.table import (
    DECODERS,
    METHODS,
    SEPARATOR,
    join_channels,
    split_channels,
)

if TYPE_CHECKING:
    Channels = str
    DecodingMethod = str
else:
    Channels = Literal[tuple(DECODERS)]
    DecodingMethod = Literal[METHODS]
ChannelLoss = Annotated[Literal["bce", "l1", "mse", "huber"], AnyCase()]
Codes = Annotated[tuple[Annotated[str, BeforeValidator(to_text)], ...], BeforeValidator(to_tuple)]


@dataclass(frozen=True)
class OrCombination:
    """Annotation of configurations of channels that also accepts other combinations of codes."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema that validates combinations, and passes other values on."""

        def check(value: object, validate: ValidatorFunctionWrapHandler) -> object:
            value = plain(value)
            if isinstance(value, tuple):
                value = join_channels([str(code) for code in value])
            try:
                if isinstance(value, str) and value not in DECODERS:
                    split_channels(value)
                    return value
            except UserError as error:
                if SEPARATOR in str(value) or str(value)[:1] in FAMILIES:
                    hint = f"; {error.hint}" if error.hint else ""
                    raise complete_refusal(f": {error.message.partition(': ')[2]}{hint}") from error
                codes = _codes_of(str(value))
                if codes:
                    raise refusal(
                        f"write {SEPARATOR.join(codes)} or [{', '.join(codes)}]"
                    ) from error
            return validate(value)

        return core_schema.no_info_wrap_validator_function(check, handler(source))


def _codes_of(text: str) -> list[str]:
    """Return the codes of a combination such as ``FCDb`` or ``F,C,Db``; empty for others."""
    text = re.sub(r"[\s,;]", "", text)
    codes = re.findall("[A-Z][a-z0-9]*", text)
    try:
        split_channels(SEPARATOR.join(codes))
    except UserError:
        return []
    return codes if "".join(codes) == text else []


def _option(text: str) -> str:
    """Validate an entry such as ``Db.norm=False``."""
    try:
        parse_options((text,), "")  # the message begins after the key
    except UserError as error:
        raise complete_refusal(f"{error.message}; {error.hint}") from error
    return text


Options = Annotated[
    tuple[Annotated[str, BeforeValidator(to_text), AfterValidator(_option)], ...],
    BeforeValidator(to_tuple),
]
