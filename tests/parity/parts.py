"""Single parts: predictor, metrics, relative elements."""

from __future__ import annotations

import numpy as np
import torch

from eval.metrics import r2_pooled
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.heads import ActionLinear
from tests.parity.common import Arrays, Errors, factored, relative_error, tensor


def hypernetwork_linear(arrays: Arrays) -> Errors:
    """The action-conditioned predictor and its gradients."""
    x = tensor(arrays, "x").squeeze(1).requires_grad_()
    z = tensor(arrays, "z").requires_grad_()
    predictor = ActionLinear(z.shape[1], x.shape[1])
    predictor.weight.data = factored(arrays, "weights/hypernet.net.0.weight")
    out = predictor(x, z)
    out.backward(tensor(arrays, "upstream"))
    want = factored(arrays, "grad/weights/hypernet.net.0.weight").numpy()
    return {
        "out": relative_error(out, arrays["out"]),
        "grad x": relative_error(x.grad, arrays["grad/x"]),
        "grad z": relative_error(z.grad, arrays["grad/z"]),
        "grad weight": relative_error(predictor.weight.grad, want),
    }


def r2(arrays: Arrays) -> Errors:
    """Pooled R2 of a regression."""
    ours = r2_pooled(tensor(arrays, "pred"), tensor(arrays, "target"))
    return {"r2": relative_error(ours, arrays["r2"])}


def relative_rotation(arrays: Arrays) -> Errors:
    """Euler pairs to their relative rotation, as quaternion up to sign and as matrix."""
    group = SO3()
    start, end = (euler_xyz_to_quat(tensor(arrays, f"euler_{i}")) for i in (1, 2))
    relative = group.relative(start, end)
    want = arrays["quat_xyzw"]
    sign = torch.from_numpy(np.sign((relative.numpy() * want).sum(-1, keepdims=True)))
    return {
        "quaternion": relative_error(relative * sign, want),
        "matrix": relative_error(group.matrix(relative), arrays["matrix"]),
    }


KINDS = {
    "sie_repo_hypernetwork_linear*.npz": hypernetwork_linear,
    "sie_repo_r2*.npz": r2,
    "relative_rotation*.npz": relative_rotation,
}
