"""Run the forward passes of a network with OpenVINO, if it is installed.

OpenVINO is optional. If it fails, torch computes the network.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)


# Pixels per thread from which compiling the network takes less time than it saves
_MIN_PIXELS = 16_000_000
_EXACT, _NEAR = 1e-3, 0.1  # maximum difference of logits in float32 and bfloat16


def has_openvino() -> bool:
    """Return True if OpenVINO is installed."""
    return find_spec("openvino") is not None


class OpenVinoNetwork(nn.Module):
    """A network that runs its forward passes on a CPU with OpenVINO.

    Torch also computes the first batch of each shape. If the results differ by more than rounding,
    or if OpenVINO fails, torch computes everything from then on, with a notice.

    Parameters
    ----------
    network : Module
        A network in evaluation mode.
    channels : int
        Channels of the image.
    example : sequence of int
        A valid spatial shape of the input.
    bfloat16 : bool
        Compute in bfloat16 instead of float32.
    at_once : bool
        Use OpenVINO from the first batch on; by default, from the batch on from which it saves
        time.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        example: Sequence[int],
        *,
        bfloat16: bool,
        at_once: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.example = (1, channels, *example)
        self.lower = bfloat16
        self.wait = 0 if at_once else _MIN_PIXELS * torch.get_num_threads()
        self.seen = 0
        self.checked: set[tuple[int, ...]] = set()
        self.request: Any = None
        self.disabled = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the network."""
        if self.disabled or self.seen < self.wait or x.device.type != "cpu":
            self.seen += x.numel() // x.shape[1]
            logits: Tensor = self.network(x)
            return logits
        try:
            if self.request is None:
                self.request = self._compile()
            # The result is memory of OpenVINO, which its next pass overwrites.
            result = torch.from_numpy(self.request.infer(x.numpy())[0].copy())
        except Exception as error:  # torch can compute the network after any error
            return self._disable(f"{type(error).__name__}: {error}", self.network(x))
        shape = tuple(x.shape)
        if shape in self.checked:
            return result
        self.checked.add(shape)
        return self._compared(result, self.network(x))

    def _compared(self, result: Tensor, expected: Tensor) -> Tensor:
        if result.shape != expected.shape:
            return self._disable("its result has another shape", expected)
        allowed = _NEAR if self.lower else _EXACT
        difference = float((result - expected.float()).abs().max())
        if difference <= allowed * max(1.0, float(expected.abs().max())):
            return result
        return self._disable(f"its result differs by {difference:.2g}", expected)

    def _disable(self, reason: str, expected: Tensor) -> Tensor:
        self.disabled, self.request = True, None
        _log.warning(f"OpenVINO is not used for this network ({reason.splitlines()[0]:.200})")
        return expected

    def _compile(self) -> Any:
        """Return an inference request for any batch and spatial shape.

        The front end is called directly, because the converter of the library reports each call to
        a server.
        """
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
            decoder = TorchScriptPythonDecoder(
                self.network, example_input=torch.zeros(self.example), trace_kwargs={}
            )
            front_end = FrontEndManager().load_by_framework("pytorch")
            model = front_end.convert(front_end.load(decoder))
        free = [-1] * (len(self.example) - 2)
        model.reshape([-1, self.example[1], *free])
        # The default is bfloat16 on processors that support it.
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.lower else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return openvino.Core().compile_model(model, "CPU", options).create_infer_request()
