"""How much of a device's arithmetic the image tower uses: its operations over what a matrix product reaches there."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from embed.encoders import Towers

DENSE_BF16 = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""Operations/s of the SXM cards without sparsity, by their data sheets: https://resources.nvidia.com/."""

_SECONDS = 0.5


def line(towers: Towers, seconds_each: float) -> str:
    """Return the model's rate as words, given the seconds that an image takes it."""
    rate, most = operations(towers) / seconds_each, matrix_rate(towers)
    words = f"the model alone {rate / 1e12:8,.2f} TFLOP/s, {rate / most:.0%} of a matrix product's {most / 1e12:,.2f}"
    device = torch.device(towers.device.split()[0])
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for card, sheet in DENSE_BF16.items():
        if card in named:
            words += f", {rate / sheet:.0%} of the {sheet / 1e12:,.0f} that dense bf16 has on {named} by its data sheet"
    return words


def operations(towers: Towers) -> float:
    """Return the floating point operations that one image takes; a multiplication and its addition are two."""
    visual = towers.image._model.visual  # noqa: SLF001  # what a job computes is measured as it is
    parameter = next(visual.parameters())
    picture = torch.zeros(
        1, *towers.image.input_shape, dtype=parameter.dtype, device=parameter.device, requires_grad=True
    )
    with FlopCounterMode(display=False) as counter:  # with gradients on, since it does not know the fused attention
        visual(picture)
    return float(counter.get_total_flops())


def matrix_rate(towers: Towers) -> float:
    """Return the operations/s of a large product of matrices in the tower's precision, on its device."""
    parameter = next(towers.image._model.visual.parameters())  # noqa: SLF001  # as above
    side = 8192 if parameter.is_cuda else 2048
    one, other = (torch.randn(side, side, device=parameter.device).to(parameter.dtype) for _ in range(2))
    wait = torch.cuda.synchronize if parameter.is_cuda else lambda: None
    _ = one @ other
    wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        for _ in range(20 if parameter.is_cuda else 1):
            _ = one @ other
            count += 1
        wait()
    return 2 * side**3 * count / (time.perf_counter() - began)
