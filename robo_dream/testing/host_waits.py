"""What waits for a device: reads of what it computes, shapes that depend on it, and uploads for which the program stands still.

Whoever hands work to a GPU should do so without asking for results in between. What would ask is told here on any machine: torch's `meta`
device has shapes and no numbers, and takes the GPU's place. Every read of it gives zeros, so that the code runs to its end.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes_config
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten
_FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
_BY_INDEX = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
_MASKED = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
_NOT_OURS = (*torch.__path__, *jaxtyping.__path__, __file__, "<")


@dataclass(frozen=True)
class HostWait:
    """One wait: the operation as torch calls it, and the innermost function outside torch that asked for it."""

    operation: str
    function: str
    line: str  # file:number


@contextmanager
def host_waits(device: str = "meta") -> Iterator[list[HostWait]]:
    """The waits for `device` (a type, such as cuda) within the block, in their order; the list grows while it runs."""
    found: list[HostWait] = []

    def note(operation: str) -> None:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_OURS):
            frame = frame.f_back
        code = frame.f_code
        found.append(HostWait(operation, code.co_qualname, f"{Path(code.co_filename).name}:{frame.f_lineno}"))

    all_kept: Any = shapes_config  # its `patch` is put there at run time
    with all_kept.patch(meta_nonzero_assume_all_nonzero=True), _Calls(device, note), _Operations(device, note):
        yield found


class _Calls(TorchFunctionMode):
    """Notes what torch does before its operations begin: numbers of Python that are copied to the device."""

    def __init__(self, device: str, note: Callable[[str], None]) -> None:
        super().__init__()
        self._device, self._note = device, note

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _FROM_NUMBERS and out.device.type == self._device and not isinstance(args[-1], Tensor):
            self._note(f"{func.__name__} of numbers")
        if func in _BY_INDEX and args[0].device.type == self._device:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(one, list) for one in index):
                self._note("index of numbers")
        return out


class _Operations(TorchDispatchMode):
    """Notes operations that wait, and gives zeros for what `meta` cannot tell."""

    def __init__(self, device: str, note: Callable[[str], None]) -> None:
        super().__init__()
        self._device, self._note = device, note

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():  # in inference mode operations come whole that are made of others
            with self:
                return func.decompose(*args, **kwargs)
        if not self._waits(func, args, kwargs):
            return func(*args, **kwargs)
        self._note(str(func.overloadpacket).removeprefix("aten."))
        is_read = self._device == "meta" and args[-1 if func is _aten.copy_.default else 0].device.type == "meta"
        return _zeros(func, args) if is_read else func(*args, **kwargs)

    def _waits(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        if func in (_aten._to_copy.default, _aten.copy_.default):
            source, target = args[0], kwargs.get("device") or args[0].device
            if func is _aten.copy_.default:
                source, target = args[1], args[0].device
            kinds = (source.device.type, torch.device(target).type)
            is_queued = kwargs.get("non_blocking") or args[2:] == (True,)
            if kinds == ("cpu", self._device):
                return not is_queued or (self._device == "cuda" and not source.is_pinned())
            return kinds == (self._device, "cpu")
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if not any(value.device.type == self._device for value in tensors):
            return False
        if func in _MASKED:
            indices = [index for index in args[1] if index is not None]
            return any(index.dtype in (torch.bool, torch.uint8) or index.device.type != self._device for index in indices)
        return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _zeros(func: Any, args: Sequence[Any]) -> Any:
    """What `func`, which `meta` cannot answer, would give of zeros; a mask is taken to leave everything in."""
    if func is _aten._local_scalar_dense.default:
        return torch.zeros((), dtype=args[0].dtype).item()
    if func is _aten.equal.default:
        return True
    if func is _aten._to_copy.default:
        return torch.zeros(args[0].shape, dtype=args[0].dtype)
    return args[0] if func is _aten.copy_.default else func(*args)
