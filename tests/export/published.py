"""State dicts of the published shapes, from plain modules that have the published names.

The modules are written after the formulas that the golden numbers were described with, sample by
sample where the package is not, so that they can judge what is imported.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models import resnet18


def resnet() -> nn.Module:
    """torchvision's ResNet-18 without classifier, with BatchNorm statistics of its own."""
    model = resnet18()
    model.fc = nn.Identity()  # type: ignore[assignment]
    return stirred(model)


def stirred(module: nn.Module) -> nn.Module:
    """Give every vector of a module, running statistics too, values that tell it apart."""
    for value in (*module.parameters(), *module.buffers()):
        if value.is_floating_point() and value.ndim == 1:
            nn.init.uniform_(value, 0.5, 1.5)
    return module


def mlp(*widths: int) -> nn.Sequential:
    """[Linear, BatchNorm, ReLU] ..., and a Linear without bias."""
    layers: list[nn.Module] = []
    for first, second in pairwise(widths[:-1]):
        layers += [nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=False))


class Hypernetwork(nn.Module):
    """Makes the predictor's matrix, or its small MLP, from each action."""

    def __init__(self, actions: int, width: int, deep: bool) -> None:
        super().__init__()
        self.width, self.deep = width, deep
        if deep:
            number = 2 * 20 * width + 20 + width
            hidden = [nn.Linear(actions, actions), nn.ReLU(), nn.Linear(actions, actions)]
            self.net = nn.Sequential(*hidden, nn.ReLU(), nn.Linear(actions, number))
        else:
            self.net = nn.Sequential(nn.Linear(actions, width * width, bias=False))

    def predict(self, x: Tensor, z: Tensor) -> Tensor:
        """One sample after another."""
        return torch.stack([self.one(*pair) for pair in zip(x, self.net(z), strict=True)])

    def one(self, x: Tensor, flat: Tensor) -> Tensor:
        """Of one sample, with all its parameters in a row."""
        if not self.deep:
            return flat.view(self.width, self.width) @ x
        w1, b1, w2, b2 = flat.split([20 * self.width, 20, 20 * self.width, self.width])
        return w2.view(self.width, 20) @ torch.relu(w1.view(20, self.width) @ x + b1) + b2


class PublishedSIE(nn.Module):
    """SIE's names and, by default, its sizes."""

    def __init__(
        self,
        equi: int = 256,
        widths: tuple[int, ...] = (2048, 2048, 2048),
        actions: int = 4,
        deep: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.equi = resnet(), equi
        shares = [width * equi // 512 for width in widths]
        if equi < 512:
            rest = [width - share for width, share in zip(widths, shares, strict=True)]
            self.projector_inv = stirred(mlp(512 - equi, *rest))
        self.projector_equi = stirred(mlp(equi, *shares))
        self.predictor = nn.Module()
        self.predictor.hypernet = Hypernetwork(actions, shares[-1], deep)


class PublishedCapsules(nn.Module):
    """EquiCaps' head: a layer of capsules at every position, and self-routing over the map."""

    def __init__(self, num: int = 32, pose: int = 9, side: int = 8, channels: int = 512) -> None:
        super().__init__()
        self.num, self.pose = num, pose
        self.conv_a = nn.Conv2d(channels, num, 3, padding=1, bias=False)
        self.conv_pose = nn.Conv2d(channels, num * pose, 3, padding=1, bias=False)
        self.bn_a = stirred(nn.BatchNorm2d(num))
        self.bn_pose = stirred(nn.BatchNorm2d(num * pose))
        self.fc = nn.Module()
        inputs = side * side * num
        self.fc.W1 = nn.Parameter(torch.randn(inputs, num * pose, pose))
        self.fc.W2 = nn.Parameter(torch.randn(inputs, num, pose))
        self.fc.b2 = nn.Parameter(torch.randn(1, 1, inputs, num))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Activations ``(B, N)`` and poses ``(B, N, P)``; every vote is kept."""
        activation = self.bn_a(self.conv_a(x)).sigmoid().permute(0, 2, 3, 1).flatten(1)
        pose = self.bn_pose(self.conv_pose(x)).permute(0, 2, 3, 1).reshape(len(x), -1, self.pose)
        share = (torch.einsum("ijp,bip->bij", self.fc.W2, pose) + self.fc.b2[0]).softmax(dim=-1)
        share = share * activation[..., None]
        votes = torch.einsum("iqp,bip->biq", self.fc.W1, pose).unflatten(2, (self.num, self.pose))
        poses = (share[..., None] * votes).sum(dim=1) / share.sum(dim=1)[..., None]
        return share.sum(dim=1) / activation.sum(dim=1, keepdim=True), poses


class PublishedEquiCaps(nn.Module):
    """EquiCaps' names and, by default, its sizes."""

    def __init__(self, num: int = 32, pose: int = 9, side: int = 8) -> None:
        super().__init__()
        self.backbone = resnet()
        self.projector = PublishedCapsules(num, pose, side)


class PublishedSeqJEPA(nn.Module):
    """seq-JEPA's names and, by default, its sizes."""

    def __init__(self, actions: int = 4, layers: int = 3, momentum: bool = True) -> None:
        super().__init__()
        width, token = 128, 512 + 128
        self.encoder = resnet()
        if momentum:
            self.target_encoder = resnet()
        embed = nn.Sequential(
            nn.Linear(actions, width, bias=False), nn.BatchNorm1d(width, affine=False)
        )
        self.action_proj = stirred(embed)
        self.agg_token = nn.Parameter(torch.randn(1, 1, token))
        layer = nn.TransformerEncoderLayer(token, 4, 4 * token, batch_first=True)
        self.transformer_encoder = nn.Module()
        self.transformer_encoder.transformer_encoder = nn.TransformerEncoder(
            layer, layers, enable_nested_tensor=False
        )
        self.transformer_encoder.norm = nn.LayerNorm(token)
        self.predictor = nn.Sequential(
            nn.Linear(token + width, 1024, bias=False),
            nn.BatchNorm1d(1024),
            nn.ReLU(),
            nn.Linear(1024, 512),
        )
        stirred(self.transformer_encoder)
        stirred(self.predictor)

    def forward(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Aggregate and prediction of ``images (B, M, C, H, W)`` and ``actions (B, M, K)``."""
        embedded = self.action_proj(actions.flatten(0, 1)).unflatten(0, actions.shape[:2])
        tokens = [self.agg_token.expand(len(images), -1, -1)]
        for view in range(images.shape[1]):
            last = view == images.shape[1] - 1
            action = torch.zeros_like(embedded[:, view]) if last else embedded[:, view]
            tokens.append(torch.cat([self.encoder(images[:, view]), action], dim=1)[:, None])
        encoder = self.transformer_encoder
        made = encoder.norm(encoder.transformer_encoder(torch.cat(tokens, dim=1)))[:, 0]
        return made, self.predictor(torch.cat([made, embedded[:, -1]], dim=1))
