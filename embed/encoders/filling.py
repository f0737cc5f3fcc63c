"""Weights written once: none is drawn at random that a checkpoint replaces, and what was read is not copied again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from embed.encoders.torchvision_shim import import_torch

if TYPE_CHECKING:
    from torch import dtype as DType  # noqa: N812 - a class, whatever its case

_DRAWS = frozenset({
    "add_", "clamp_", "constant_", "erfinv_", "fill_", "kaiming_normal_", "kaiming_uniform_", "mul_", "normal_",
    "uniform_", "xavier_normal_", "xavier_uniform_", "zero_",
})  # fmt: skip
"""How parameters get their first values: methods of a tensor, and torch.nn.init's functions by the same names.

trunc_normal_ is none of them: it looks at what it has drawn, and draws again what lies outside of its bounds.
"""


@contextmanager
def parameters_left_empty() -> Iterator[None]:
    """Let nothing give a parameter its first values meanwhile; buffers get theirs.

    Only for a model whose every parameter is loaded afterwards: they hold whatever lay in that memory.
    https://docs.pytorch.org/docs/2.13/torch.overrides.html#torch.overrides.TorchFunctionMode
    """
    torch = import_torch()
    from torch.overrides import TorchFunctionMode  # noqa: PLC0415 - loaded with torch, which is optional

    class Empty(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:  # noqa: ANN401  # whatever func returns
            named = kwargs or {}
            filled = args[0] if args else named.get("tensor")
            if isinstance(filled, torch.nn.Parameter) and getattr(func, "__name__", "") in _DRAWS:
                return filled
            return func(*args, **named)

    with Empty():
        yield


@contextmanager
def tensors_taken_over(model: Any) -> Iterator[None]:  # noqa: ANN401  # open_clip ships no types
    """Let `model.load_state_dict` keep tensors that were read into memory, where it would copy them into its own.

    What is kept is what a copy would be: of the model's own type, contiguous, alone in its memory.
    """
    load = model.load_state_dict

    def take_over(state_dict: dict[str, Any], strict: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002  # torch's own
        own = model.state_dict()
        for name in state_dict.keys() & own.keys():
            state_dict[name] = _as_copied(state_dict[name], own[name].dtype)
        return load(state_dict, strict=strict, assign=True)

    model.load_state_dict = take_over
    try:
        yield
    finally:
        del model.load_state_dict


def _as_copied(given: Any, dtype: "DType") -> Any:  # noqa: ANN401  # a file may hold anything, which torch then refuses
    torch = import_torch()
    if not isinstance(given, torch.Tensor):
        return given
    is_alone = given.is_contiguous() and given.untyped_storage().nbytes() == given.nbytes
    if given.dtype == dtype and is_alone:
        return given
    return torch.empty(given.shape, dtype=dtype).copy_(given)
