from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError
from ssl_equiv.export.graphs import export_onnx, export_program
from tests.backbones.test_shift_models import images, small

# anchored windows have many operations: tracing them takes a minute
MODELS = [
    "shift_vit_tiny_patch16_224",
    pytest.param("shift_twins_svt_small", marks=pytest.mark.slow),
    pytest.param("shift_swin_tiny", marks=pytest.mark.slow),
]


def onnx_outputs(path: Path, x: Tensor) -> list[Tensor]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return [torch.from_numpy(y) for y in session.run(None, {entry.name: x.numpy()})]


@pytest.mark.parametrize("name", MODELS)
def test_a_shift_equivariant_model_stays_so(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, x = small(name, **({"depth": 1} if "vit" in name else {})), images()
    path = tmp_path / "model.onnx"
    assert export_onnx(model, x, path) < 1e-5
    wanted = model(x).detach()
    for rows in (1, 3, 4):
        torch.testing.assert_close(onnx_outputs(path, x[:rows])[0], wanted[:rows])
    for shift in ((1, 0), (3, 2), (16, 32), (-7, 41)):
        (found,) = onnx_outputs(path, x.roll(shift, (2, 3)))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    program = tmp_path / "model.pt2"
    assert export_program(model, x[:1], program) == 0
    loaded = torch.export.load(program).module()
    for shift in ((0, 0), (5, 9)):
        torch.testing.assert_close(loaded(x[:3].roll(shift, (2, 3))), wanted[:3])


def test_it_is_left_as_it_was(tmp_path: Path) -> None:
    model = small("shift_vit_tiny_patch16_224", depth=1).train().double()
    export_program(model, images(), tmp_path / "model.pt2")
    assert model.training
    assert all(p.requires_grad and p.dtype == torch.float64 for p in model.parameters())


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a + b, a * b

    a, b = torch.randn(3, 4), torch.randn(3, 4)
    assert export_program(Two(), (a, b), tmp_path / "two.pt2") == 0
    pytest.importorskip("onnxruntime")
    path = tmp_path / "two.onnx"
    error = export_onnx(Two(), (a, b), path, input_names=("a", "b"), output_names=("sum", "times"))
    assert error < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_stock_backbones(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = timm.create_model(name, num_classes=0)
    x = torch.randn(2, 3, 224, 224)
    assert export_onnx(model, x, tmp_path / "model.onnx") < 1e-4
    assert export_program(model, x, tmp_path / "model.pt2") < 1e-4
    (found,) = onnx_outputs(tmp_path / "model.onnx", x[:1])
    torch.testing.assert_close(found, model.eval()(x[:1]).detach(), atol=1e-4, rtol=1e-4)


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(3, 4)

    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    path = tmp_path / "model.pt2"
    for module in (Looks(), Fixed()):
        with pytest.raises(UserError, match=f"{type(module).__name__} cannot be exported"):
            export_program(module, torch.ones(3, 4), path)
    with pytest.raises(UserError, match=r"the graph of Random differs .* nothing was written"):
        export_program(Random(), torch.ones(3, 4), path)
    with pytest.raises(UserError, match="give inputs of one batch size"):
        export_program(Random(), (torch.ones(3, 4), torch.ones(2, 4)), path)
    monkeypatch.setattr("ssl_equiv.export.graphs._LARGEST", 10)
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="an ONNX file holds 2 GB"):
        export_onnx(nn.Linear(4, 4), torch.ones(3, 4), path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'ssl-equiv\[export\]'"):
        export_onnx(nn.Linear(4, 4), torch.ones(3, 4), path)
    assert list(tmp_path.iterdir()) == []
