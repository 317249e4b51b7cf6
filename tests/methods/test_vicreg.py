from __future__ import annotations

import torch
from lightly.loss import VICRegLoss

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import VICReg


def test_the_loss_is_lightlys() -> None:
    torch.manual_seed(0)
    method = VICReg(
        BackboneConfig("test_resnet"),
        projector_widths=(16, 12),
        invariance_weight=25.0,
        variance_weight=25.0,
        covariance_weight=1.0,
    ).train()
    views = [method.encode(torch.randn(6, 3, 32, 32)) for _ in range(2)]
    x, y = (method.projector(view.features) for view in views)
    torch.testing.assert_close(method.total(method.terms(views)), VICRegLoss()(x, y))
