"""A module as a graph that runs without its code: ONNX, or PyTorch's exported program.

Both are written whole or not at all, take batches of any size, and are compared with the module
before they appear, at batch sizes other than the one that was traced.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_LARGEST = 2_000_000_000  # bytes of weights: protobuf files end at 2 GiB
_TOLERANCE = 1e-4


def export_onnx(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    path: str | os.PathLike[str],
    *,
    input_names: Sequence[str] = ("images",),
    output_names: Sequence[str] = ("features",),
    tolerance: float = _TOLERANCE,
) -> float:
    """Write a module as one ONNX file, after onnxruntime has given the module's outputs with it.

    The module is exported in evaluation mode and float32; it is left as it was.

    Args:
        module: Takes tensors whose first dimension is the batch, gives a tensor or several.
        example: Its input, or inputs, on which it is traced and compared. Other dimensions than
            the batch stay as they are here.
        path: File to write, ``.onnx``.
        input_names: One an input.
        output_names: One an output; further ones are numbered.
        tolerance: The largest difference of outputs, relative to the largest output, that is
            rounding.

    Returns:
        The largest absolute difference between the outputs of module and file.

    Raises:
        UserError: the packages of ``ssl-equiv[export]`` are missing, the module cannot be traced,
            its weights exceed 2 GB, or the outputs differ.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as missing:
        raise UserError(
            f"ONNX needs the package {missing.name}: pip install 'ssl-equiv[export]'"
        ) from missing
    model, inputs = _prepared(module, example)
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > _LARGEST:
        raise UserError(
            f"{type(module).__name__} has {size / 1e9:.1f} GB of weights, but an ONNX file holds "
            "2 GB: export it with export_program"
        )
    for part in model.modules():
        if getattr(part, "fused_attn", False):  # timm's; some fused forms have no ONNX operator
            part.fused_attn = False  # type: ignore[assignment]
    with _tracing(module):
        graph: Any = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            dynamic_shapes=_any_batch(inputs),
            input_names=list(input_names),
            output_names=list(output_names),
            verbose=False,
        )
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "graph.onnx"
        graph.save(str(written), external_data=False)
        session = onnxruntime.InferenceSession(str(written), providers=["CPUExecutionProvider"])

        def run(*some: Tensor) -> list[Tensor]:
            names = [entry.name for entry in session.get_inputs()]
            feed = {name: x.numpy() for name, x in zip(names, some, strict=True)}
            return [torch.from_numpy(y) for y in session.run(None, feed)]

        error = _compare(module, model, run, inputs, tolerance)
        with atomic_write(path) as file:
            file.write(written.read_bytes())
    return error


def export_program(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    path: str | os.PathLike[str],
    *,
    tolerance: float = _TOLERANCE,
) -> float:
    """Write a module as a file for ``torch.export.load(path).module()``, compared with it.

    Arguments, result and errors as of :func:`export_onnx`.

    Args:
        module: What to export.
        example: Its input, or inputs.
        path: File to write, ``.pt2``.
        tolerance: Of the outputs' difference.
    """
    model, inputs = _prepared(module, example)
    with _tracing(module):
        program = torch.export.export(model, inputs, dynamic_shapes=_any_batch(inputs))
        written = io.BytesIO()
        torch.export.save(program, written)
        written.seek(0)
        loaded = torch.export.load(written).module()
    error = _compare(module, model, lambda *some: tree_leaves(loaded(*some)), inputs, tolerance)
    with atomic_write(path) as file:
        file.write(written.getbuffer())
    return error


def _prepared(
    module: nn.Module, example: Tensor | Sequence[Tensor]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A copy on the CPU, and inputs of two rows or more: one row would be traced as a constant."""
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    rows = {x.shape[0] if x.ndim else 0 for x in inputs}
    if len(rows) != 1 or 0 in rows:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise UserError(f"examples of shapes {shapes or 'none'}: give inputs of one batch size")
    model = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    inputs = tuple(x.detach().cpu() for x in inputs)
    if rows == {1}:
        inputs = tuple(torch.cat([x, x]) for x in inputs)
    return model, inputs


def _any_batch(inputs: Sequence[Tensor]) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in inputs)


@contextlib.contextmanager
def _tracing(module: nn.Module) -> Iterator[None]:
    """Without gradients and chatter; a refusal in one line."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:  # torch, sympy and onnxscript each have their own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{type(module).__name__} cannot be exported as a graph for any batch size: "
            f"{reason[0][:200]}"
        ) from error
    finally:
        logger.setLevel(level)


@torch.no_grad()
def _compare(
    module: nn.Module,
    model: nn.Module,
    run: Callable[..., Sequence[Tensor]],
    inputs: tuple[Tensor, ...],
    tolerance: float,
) -> float:
    worst = 0.0
    rows = inputs[0].shape[0]
    for chosen in ([0], list(range(rows)), [i % rows for i in range(rows + 1)]):
        some = tuple(x[chosen] for x in inputs)
        for want, have in zip(tree_leaves(model(*some)), run(*some), strict=True):
            error = (want - have).abs().max().item() if want.shape == have.shape else float("nan")
            if not error <= tolerance * max(1.0, want.abs().max().item()):
                raise UserError(
                    f"the graph of {type(module).__name__} differs from it by {error:.1e} for "
                    f"{len(chosen)} inputs, which is more than rounding: nothing was written"
                )
            worst = max(worst, error)
    return worst
