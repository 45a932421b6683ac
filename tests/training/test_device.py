"""The arithmetic precision on a CPU."""

import pytest
import torch

from singula.training.device import choose_device, has_bfloat16


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "native", "precision"),
    [
        ("", True, "bf16"),
        ("AVX512_CORE_BF16", True, "bf16"),
        ("AVX512_CORE_AMX", True, "bf16"),
        ("AVX512_CORE", True, "32"),
        ("avx2", True, "32"),
        ("", False, "32"),
        ("AVX512_CORE_BF16", False, "32"),
    ],
)
def test_bfloat16_needs_the_processor_and_no_limit(
    monkeypatch, name: str, limit: str, native: bool, precision: str
) -> None:
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)
    if limit:
        monkeypatch.setenv(name, limit)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert has_bfloat16() is (precision == "bf16")
    assert choose_device(None, "cpu", "auto").precision == precision
    assert choose_device(None, "cpu", "32").precision == "32"
