"""``python -m eval.lidar``: judge an encoder of sweeps without detection."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import torch

from eval.lidar.judge import LidarRecipe, judge_encoder
from eval.results import RESULTS, results_table, write_provenance, write_results
from ssl_equiv.backbones.lidar import LidarEncoder, create_encoder, encoder_config
from ssl_equiv.checkpoint import PretrainedEncoder
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.export.openpcdet import open_openpcdet
from ssl_equiv.files import make_directory
from ssl_equiv.parsing import call

_RANDOM = "random:"


def judge(
    model: str,
    data: str,
    out: str,
    recipe: LidarRecipe = LidarRecipe(),  # noqa: B008 (frozen; shown by --help)
    region: Region = Region(),  # noqa: B008 (as above)
    batch_size: int = 8,
    num_workers: int | None = None,
    name: str | None = None,
) -> Path:
    """Yaw and translation R2, equivariance errors of the map, and a linear probe of points.

    Args:
        model: A run directory of a method on sweeps, a .ckpt file of one, random:RUN for its
            encoder at random, or a .safetensors file of export_openpcdet.
        data: Root of the data set.
        out: Folder of the results, which 'ssl-equiv report' reads.
        recipe: What is judged, and how long probes learn.
        region: Which points are used.
        batch_size: Sweeps that are encoded at a time.
        num_workers: Loader processes.
        name: Name of the model in the results; by default as it is given.
    """
    encoder = _open(model)
    if torch.cuda.is_available():
        encoder = encoder.cuda()
    module = LidarDataModule(data, 1, batch_size, region=region, num_workers=num_workers)
    rows = judge_encoder(encoder, module, recipe, model=name or model)
    folder = make_directory(out)
    write_results(folder / RESULTS, rows)
    command = shlex.join(["python", "-m", "eval.lidar", *sys.argv[1:]])
    write_provenance(folder, command=command, model=name or model, data=data)
    print("\n".join(results_table(rows)))
    return folder


def _open(model: str) -> LidarEncoder:
    if model.endswith(".safetensors"):
        return open_openpcdet(model)
    found = PretrainedEncoder(model.removeprefix(_RANDOM))
    if not model.startswith(_RANDOM):
        return found.encoder
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_encoder(encoder_config(found.description["init_args"]["backbone"]))


if __name__ == "__main__":
    try:
        call(judge, sys.argv[1:], "eval.lidar")
    except UserError as error:
        sys.exit(f"error: {error}")
