"""``python -m tests.parity DIR``: compare this package with files of published numbers.

Each file holds inputs, weights and outputs of a published implementation; its kind is told by its
name, its sizes by its arrays. One line a file: the largest relative error of the loss, its terms,
the outputs and the gradients. Exit 1 above the tolerance or where a kind is unknown.
"""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models import register_model
from torch import Tensor, nn

from eval.metrics import r2_pooled
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.heads import ActionLinear
from ssl_equiv.methods import SIE, VICReg
from ssl_equiv.representation import Representation

TOLERANCE, FLOOR = 1e-4, 1e-6
# files of the golden set that hold something other than numbers of a published method
OTHER = {"cycles_reference*.npz": "python -m data_gen.compare FILE checks it"}

Arrays = Mapping[str, np.ndarray]
Errors = dict[str, float]


def relative_error(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest difference over the largest magnitude; differences below the floor do not count."""
    want = torch.from_numpy(np.asarray(theirs)).double()
    have = ours.detach().double().reshape(want.shape)
    difference = (have - want).abs().max().item()
    return 0.0 if difference <= FLOOR else difference / max(want.abs().max().item(), FLOOR)


def _tensor(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name])


def _under(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): _tensor(arrays, k) for k in arrays if k.startswith(prefix)}


def _start(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load what a projector starts from: stored running statistics are those after the step."""
    state = module.state_dict()
    for name, value in weights.items():
        if "running_" not in name and "num_batches" not in name:
            state[name].copy_(value)


def _factored(arrays: Arrays, name: str) -> Tensor:
    """A hypernetwork's ``(E_out·E_in, K)`` weight in the layout of :class:`ActionLinear`."""
    flat = _tensor(arrays, name)
    edge = round(flat.shape[0] ** 0.5)
    return flat.view(edge, edge, -1).transpose(1, 2).reshape(edge, -1)


@register_model
def parity_features(dim: int, **_: Any) -> nn.Module:
    """A timm "backbone" that hands features through: the files hold backbone features."""
    model = nn.Identity()
    model.num_features = dim  # type: ignore[assignment]
    return model


def sie_family(arrays: Arrays) -> Errors:
    """SIE and VICReg: loss, terms and all gradients of one training step."""
    config = ast.literal_eval(str(arrays["config"]))
    options: dict[str, Any] = {
        "backbone": BackboneConfig("parity_features", options={"dim": arrays["x"].shape[1]}),
        "projector_widths": tuple(int(width) for width in config["mlp"].split("-")),
        "invariance_weight": config["sim_coeff"],
        "variance_weight": config["std_coeff"],
        "covariance_weight": config["cov_coeff"],
    }
    x, y = (_tensor(arrays, name).requires_grad_() for name in "xy")
    method: SIE | VICReg
    if "weights/predictor/hypernet.net.0.weight" in arrays:
        method = SIE(
            **options,
            equi_dim=config["equi"],
            action_dim=arrays["z"].shape[1],
            equivariance_weight=config["equi_factor"] * config["sim_coeff"],
        )
        method.predictor.weight.data = _factored(arrays, "weights/predictor/hypernet.net.0.weight")
        projectors = {
            "projector_inv": method.projector_inv,
            "projector_equi": method.projector_equi,
        }
    else:
        method = VICReg(**options)
        projectors = {"projector": method.projector}
    for name, module in projectors.items():
        _start(module, _under(arrays, f"weights/{name}/"))
    views = [Representation(features, method.parts) for features in (x, y)]
    if isinstance(method, SIE):
        terms = method.terms_of_action(views, _tensor(arrays, "z"))
    else:
        terms = method.terms(views)
    loss = method.total(terms)
    loss.backward()

    errors = {"loss": relative_error(loss, arrays["loss"])}
    for name, published in _TERMS.items():
        if name in terms:
            errors[published] = relative_error(terms[name], arrays[f"term/{published}"])
    errors |= {
        f"grad {n}": relative_error(v.grad, arrays[f"grad/{n}"])
        for n, v in zip("xy", (x, y), strict=True)
    }
    for name, module in projectors.items():
        for entry, parameter in module.named_parameters():
            errors[f"grad {name}.{entry}"] = relative_error(
                parameter.grad, arrays[f"grad/{name}.{entry}"]
            )
        for entry, buffer in module.named_buffers():
            errors[f"{name}.{entry}"] = relative_error(buffer, arrays[f"weights/{name}/{entry}"])
    if isinstance(method, SIE):
        want = _factored(arrays, "grad/predictor.hypernet.net.0.weight").numpy()
        errors["grad predictor"] = relative_error(method.predictor.weight.grad, want)
    return errors


_TERMS = {
    "invariance": "repr_loss_inv",
    "equivariance": "repr_loss_equi",
    "variance": "std_loss",
    "prediction_variance": "pred_std_loss",
    "covariance": "cov_loss",
}


def hypernetwork_linear(arrays: Arrays) -> Errors:
    """The action-conditioned predictor and its gradients."""
    x = _tensor(arrays, "x").squeeze(1).requires_grad_()
    z = _tensor(arrays, "z").requires_grad_()
    predictor = ActionLinear(z.shape[1], x.shape[1])
    predictor.weight.data = _factored(arrays, "weights/hypernet.net.0.weight")
    out = predictor(x, z)
    out.backward(_tensor(arrays, "upstream"))
    want = _factored(arrays, "grad/weights/hypernet.net.0.weight").numpy()
    return {
        "out": relative_error(out, arrays["out"]),
        "grad x": relative_error(x.grad, arrays["grad/x"]),
        "grad z": relative_error(z.grad, arrays["grad/z"]),
        "grad weight": relative_error(predictor.weight.grad, want),
    }


def r2(arrays: Arrays) -> Errors:
    """Pooled R2 of a regression."""
    ours = r2_pooled(_tensor(arrays, "pred"), _tensor(arrays, "target"))
    return {"r2": relative_error(ours, arrays["r2"])}


def relative_rotation(arrays: Arrays) -> Errors:
    """Euler pairs to their relative rotation, as quaternion up to sign and as matrix."""
    group = SO3()
    start, end = (euler_xyz_to_quat(_tensor(arrays, f"euler_{i}")) for i in (1, 2))
    relative = group.relative(start, end)
    want = arrays["quat_xyzw"]
    sign = torch.from_numpy(np.sign((relative.numpy() * want).sum(-1, keepdims=True)))
    return {
        "quaternion": relative_error(relative * sign, want),
        "matrix": relative_error(group.matrix(relative), arrays["matrix"]),
    }


KINDS: dict[str, Callable[[Arrays], Errors]] = {
    "sie_repo_SIE.npz": sie_family,
    "sie_repo_SIERotColor*.npz": sie_family,
    "sie_repo_SIE_*.npz": sie_family,
    "sie_repo_VICReg.npz": sie_family,
    "sie_repo_VICReg_*.npz": sie_family,
    "sie_repo_hypernetwork_linear*.npz": hypernetwork_linear,
    "sie_repo_r2*.npz": r2,
    "relative_rotation*.npz": relative_rotation,
}


def check(path: Path) -> tuple[bool, str]:
    """Compare one file; returns whether it agrees and the line to print."""
    for pattern, reason in OTHER.items():
        if fnmatch.fnmatch(path.name, pattern):
            return True, f"-     {path.name}: not a published method's numbers; {reason}"
    for pattern, compare in KINDS.items():
        if fnmatch.fnmatch(path.name, pattern):
            with np.load(path, allow_pickle=False) as arrays:
                errors = compare(dict(arrays))
            worst = max(errors, key=lambda name: _nan_is_worst(errors[name]))
            agrees = errors[worst] <= TOLERANCE  # false for NaN
            figures = f"{len(errors)} quantities, worst {errors[worst]:.1e} ({worst})"
            return agrees, f"{'ok   ' if agrees else 'WRONG'} {path.name}: {figures}"
    return False, f"?     {path.name}: no method here makes this kind of file"


def _nan_is_worst(error: float) -> float:
    return float("inf") if error != error else error


def main(folder: str) -> int:
    """Check every ``.npz`` file of a folder; returns the exit code."""
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        print(f"error: no .npz files in {folder}: give the folder of golden files", file=sys.stderr)
        return 2
    torch.manual_seed(0)
    results = [check(path) for path in files]
    for _, line in results:
        print(line)
    return 0 if all(agrees for agrees, _ in results) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.parity DIR")
    sys.exit(main(sys.argv[1]))
