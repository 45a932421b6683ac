"""A network's forward passes by OpenVINO, where that is installed.

It is an extra. Whatever goes wrong with it, the network goes on in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

Notify = Callable[[str], None]

# Pixels per thread from which making the other network takes less time than it saves
_WORTH = 16_000_000
_EXACT, _NEAR = 1e-3, 0.1  # allowed difference of logits in float32, in bfloat16


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


class OpenVinoNetwork(nn.Module):
    """A network that hands its forward passes on a CPU to OpenVINO.

    The first batch of each shape is computed both ways and compared; the first difference beyond
    rounding, or any error, leaves everything to torch and is told.

    Parameters
    ----------
    network : Module
        In evaluation.
    channels : int
        Of the image.
    example : sequence of int
        A spatial shape that the network takes.
    bfloat16 : bool
        Arithmetic; float32 without.
    at_once : bool
        Begin with the first batch; else with the one from which it pays.
    notify : callable
        Told of a fall-back.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        example: Sequence[int],
        *,
        bfloat16: bool,
        at_once: bool,
        notify: Notify,
    ) -> None:
        super().__init__()
        self.network = network
        self.example = (1, channels, *example)
        self.lower = bfloat16
        self.wait = 0 if at_once else _WORTH * torch.get_num_threads()
        self.notify = notify
        self.seen = 0
        self.checked: set[tuple[int, ...]] = set()
        self.request: Any = None
        self.given_up = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits as the network's own."""
        if self.given_up or self.seen < self.wait or x.device.type != "cpu":
            self.seen += x.numel() // x.shape[1]
            own: Tensor = self.network(x)
            return own
        try:
            if self.request is None:
                self.request = self._compile()
            # What comes back is OpenVINO's memory, which its next pass writes over.
            result = torch.from_numpy(self.request.infer(x.numpy())[0].copy())
        except Exception as error:  # whatever it is, torch can go on
            return self._give_up(f"{type(error).__name__}: {error}", self.network(x))
        shape = tuple(x.shape)
        if shape in self.checked:
            return result
        self.checked.add(shape)
        return self._compared(result, self.network(x))

    def _compared(self, result: Tensor, own: Tensor) -> Tensor:
        if result.shape != own.shape:
            return self._give_up("its result has another shape", own)
        allowed = _NEAR if self.lower else _EXACT
        difference = float((result - own.float()).abs().max())
        if difference <= allowed * max(1.0, float(own.abs().max())):
            return result
        return self._give_up(f"its result differs by {difference:.2g}", own)

    def _give_up(self, reason: str, own: Tensor) -> Tensor:
        self.given_up, self.request = True, None
        self.notify(f"OpenVINO is not used for this network ({reason.splitlines()[0]:.200})")
        return own

    def _compile(self) -> Any:
        """A request for inference of any batch and spatial shape.

        The front end is called by itself because the library's converter reports each call to its
        maker's server.
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
        # Its own default is bfloat16 wherever the processor has it.
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.lower else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return openvino.Core().compile_model(model, "CPU", options).create_infer_request()
