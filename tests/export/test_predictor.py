"""Predictors as graphs: every method's, as it is in this package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.record import DIEBENCH_T
from ssl_equiv.data.views import Preprocess
from ssl_equiv.export import Backbone
from ssl_equiv.export.predictor import write_predictor
from ssl_equiv.methods.predictive import Predictive
from tests.methods.test_predictive import CASES, make


@pytest.mark.parametrize("case", CASES)
def test_the_graphs_are_the_predictor(case: str, tmp_path: Path) -> None:
    method, batch = make(case)
    assert isinstance(method, Predictive)
    method.eval()
    backbone = Backbone(
        method.backbone,  # type: ignore[arg-type]
        BackboneConfig("test_resnet"),
        Preprocess(),
        {},
        {"factors": DIEBENCH_T.to_list()},
        "made up",
    )
    images = batch.images[:, 0]
    facts = write_predictor(method, backbone, images, tmp_path)
    if not method.factors or not set(method.factors) <= DIEBENCH_T.groups.keys():
        assert facts is None
        return
    assert facts is not None
    groups = DIEBENCH_T.groups
    group, _ = method.elements({n: g.identity((1,)) for n, g in groups.items()}, groups)
    elements = group.sample((5, 1), generator=torch.Generator().manual_seed(0))
    programs = {
        name: torch.export.load(tmp_path / f"{name}.pt2").module()
        for name in ("embed", "predictor")
    }
    some = torch.cat([images, images])[:5] + 0.1 * torch.randn(5, *images.shape[1:])
    with torch.no_grad():
        features = method.encode(some).features
        if facts["features"] == "encode.pt2":
            encode = torch.export.load(tmp_path / "encode.pt2").module()
            torch.testing.assert_close(encode(some), features, rtol=1e-4, atol=1e-5)
        embedding = method.embed(features)
        torch.testing.assert_close(programs["embed"](features), embedding, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            programs["predictor"](embedding, elements),
            method.predict(embedding, elements),
            rtol=1e-4,
            atol=1e-5,
        )
    assert facts["identity"] == group.identity().tolist()
    assert facts["width"] == features.shape[1]
