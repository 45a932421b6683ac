"""Hashes of the contents of checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def hash_contents(contents: Mapping[str, Any]) -> str:
    """Return a hash of nested mappings and lists of tensors and plain values."""
    hashed = hashlib.sha256()  # processors have instructions for it
    _hash_value(hashed, contents)
    return hashed.hexdigest()


def _hash_value(hashed: hashlib._Hash, value: Any) -> None:
    """Add a value with its type and length to a hash, so that different values do not collide."""
    if isinstance(value, Tensor):
        hashed.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        hashed.update(tensor_bytes(value))
    elif isinstance(value, Mapping):
        hashed.update(f"mapping {len(value)};".encode())
        for name, item in value.items():
            _hash_value(hashed, name)
            _hash_value(hashed, item)
    elif isinstance(value, list | tuple):
        hashed.update(f"list {len(value)};".encode())
        for item in value:
            _hash_value(hashed, item)
    else:
        text = repr(value).encode("utf-8", "surrogatepass")
        hashed.update(f"{type(value).__name__} {len(text)};".encode() + text)


def tensor_bytes(value: Tensor) -> memoryview:
    """Return the bytes of a tensor."""
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data
