"""SIE's family: one training step from backbone features."""

from __future__ import annotations

import ast
from typing import Any

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import SIE, VICReg
from ssl_equiv.representation import Representation
from tests.parity.common import Arrays, Errors, factored, relative_error, start, tensor, under


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
    x, y = (tensor(arrays, name).requires_grad_() for name in "xy")
    method: SIE | VICReg
    if "weights/predictor/hypernet.net.0.weight" in arrays:
        method = SIE(
            **options,
            equi_dim=config["equi"],
            action_dim=arrays["z"].shape[1],
            equivariance_weight=config["equi_factor"] * config["sim_coeff"],
        )
        method.predictor.weight.data = factored(arrays, "weights/predictor/hypernet.net.0.weight")
        projectors = {
            "projector_inv": method.projector_inv,
            "projector_equi": method.projector_equi,
        }
    else:
        method = VICReg(**options)
        projectors = {"projector": method.projector}
    for name, module in projectors.items():
        start(module, under(arrays, f"weights/{name}/"))
    views = [Representation(features, method.parts) for features in (x, y)]
    if isinstance(method, SIE):
        terms = method.terms_of_action(views, tensor(arrays, "z"))
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
        want = factored(arrays, "grad/predictor.hypernet.net.0.weight").numpy()
        errors["grad predictor"] = relative_error(method.predictor.weight.grad, want)
    return errors


_TERMS = {
    "invariance": "repr_loss_inv",
    "equivariance": "repr_loss_equi",
    "variance": "std_loss",
    "prediction_variance": "pred_std_loss",
    "covariance": "cov_loss",
}

KINDS = {
    "sie_repo_SIE.npz": sie_family,
    "sie_repo_SIERotColor*.npz": sie_family,
    "sie_repo_SIE_*.npz": sie_family,
    "sie_repo_VICReg.npz": sie_family,
    "sie_repo_VICReg_*.npz": sie_family,
}
