"""Reading of YAML files into a validated `Config`."""

from __future__ import annotations

from singula.config.keys import Key, known_keys
from singula.config.load import config_from_dict, load_config
from singula.config.schema.root import Config

__all__ = ["Config", "Key", "config_from_dict", "known_keys", "load_config"]
