"""``ssl-equiv doctor``: what this machine has, whether everything works on it, what to mend."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from data_gen.generate import generate
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.checkpoint import read_checkpoint
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write
from ssl_equiv.methods.sie import SIE
from ssl_equiv.parsing import call

_PACKAGES = ("ssl-equiv", "torch", "torchvision", "timm", "pytorch-lightning", "numba")
_OPTIONAL = {"onnxruntime": "ONNX", "transformers": "hf exports", "spconv": "LiDAR on GPUs"}
_GIB, _MIB = 2**30, 2**20
_SHARED = 1 * _GIB  # loader processes pass batches through shared memory
_SLOW_DISK = 50 * _MIB  # bytes a second
_OBJECTS, _VIEWS, _SIZE, _STEPS = 16, 4, 64, 3


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do where it is not good."""

    what: str
    found: str
    mend: str = ""
    broken: bool = False


def main(args: list[str]) -> int:
    """Run ``ssl-equiv doctor`` with command-line arguments ``args``."""
    found: int = call(doctor, args, "doctor")
    return found


def doctor(folder: str = ".") -> int:
    """Look at versions, devices, memory and disk, then render, read, train and save a little.

    Args:
        folder: Where data and runs will lie: its speed is measured there.

    Returns:
        0, or 1 where something does not work.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder: name the one where data and runs will lie")
    console = Console(highlight=False)
    table = Table("", "found", "to mend", box=None, pad_edge=False)
    findings = []
    with console.status("looking") as status:
        for finding in (*versions(), *machine(), disk(Path(folder)), *self_test(status.update)):
            findings.append(finding)
            mark = "[yellow]![/yellow] " * bool(finding.mend)
            mark = "[red]no[/red] " if finding.broken else mark
            table.add_row(mark + finding.what, finding.found, finding.mend)
    console.print(table)
    broken = sum(finding.broken for finding in findings)
    warned = sum(bool(finding.mend) for finding in findings) - broken
    console.print(
        f"{broken} things do not work, {warned} could be better"
        if broken or warned
        else "everything works"
    )
    return 1 if broken else 0


def versions() -> Iterator[Finding]:
    """Python, what is needed, and what is optional."""
    told = [f"Python {platform.python_version()}"]
    told += [f"{name} {version(name)}" for name in _PACKAGES]
    yield Finding("versions", ", ".join(told))
    present, absent = [], []
    for name, use in _OPTIONAL.items():
        try:
            present.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(f"{name} ({use})")
    found = [", ".join(present)] * bool(present) + [f"without {', '.join(absent)}"] * bool(absent)
    yield Finding("optional", "; ".join(found))


def machine() -> Iterator[Finding]:
    """Processors, accelerators, memory, cluster."""
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    mend = ""
    if threads > cores:
        mend = f"more threads than cores: export OMP_NUM_THREADS={cores}"
    yield Finding("processor", f"{cores} cores to use, {threads} threads", mend)
    if torch.cuda.is_available():
        for device in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(device)
            half = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: use 16-mixed"
            room = f"{facts.total_memory / _GIB:.0f} GiB"
            yield Finding(f"GPU {device}", f"{facts.name}, {room}, {half}")
    else:
        built = torch.version.cuda
        missing = built is not None and shutil.which("nvidia-smi") is not None
        yield Finding(
            "GPU",
            "none" if not missing else f"nvidia-smi is there, but PyTorch (CUDA {built}) sees none",
            "install the PyTorch build of this driver's CUDA" if missing else "",
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", f"{memory / _GIB:.0f} GiB")
    if Path("/dev/shm").is_dir():
        shared = shutil.disk_usage("/dev/shm").free
        small = shared < _SHARED
        yield Finding(
            "shared memory",
            f"{shared / _GIB:.1f} GiB free",
            "loader processes need it: docker run --shm-size 8g, or data.num_workers 0" * small,
        )
    if shutil.which("sbatch"):
        yield Finding("Slurm", "sbatch is here: ssl-equiv submit")


def disk(folder: Path) -> Finding:
    """Bytes a second to and from the folder, through the cache only where it cannot be avoided."""
    content = os.urandom(64 * _MIB)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor.") as place:
        path, start = Path(place) / "file", time.perf_counter()
        with atomic_write(path) as file:
            file.write(content)
        wrote = len(content) / (time.perf_counter() - start)
        descriptor, start = os.open(path, os.O_RDONLY), time.perf_counter()
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            while os.read(descriptor, _MIB):
                pass
        finally:
            os.close(descriptor)
        read = len(content) / (time.perf_counter() - start)
    free = shutil.disk_usage(folder).free
    mend = ""
    if min(wrote, read) < _SLOW_DISK:
        mend = "slow: keep shards on a disk of this machine (ssl-equiv submit --stage)"
    elif free < 5 * _GIB:
        mend = "little space: a run keeps two checkpoints, 0.25 GB each for a ResNet-18"
    return Finding(
        f"disk of {folder.resolve()}",
        f"writes {wrote / _MIB:.0f}, reads {read / _MIB:.0f} MiB/s, {free / _GIB:.0f} GiB free",
        mend,
    )


def self_test(say: Callable[[str], None]) -> Iterator[Finding]:
    """Render, read, train and save a little; each only where the one before worked."""
    with tempfile.TemporaryDirectory(prefix="ssl-equiv-doctor.") as place:
        root = Path(place)
        for what, test in (
            ("rendering", _render),
            ("reading", _read),
            ("training", _train),
            ("saving", _save),
        ):
            say(what)
            start = time.perf_counter()
            try:
                found = test(root)
            except Exception as error:  # whatever is wrong with this machine
                reason = str(error).strip().splitlines() or [""]
                told = f"{type(error).__name__}: {reason[0]}"
                yield Finding(what, told, "report this line", broken=True)
                return
            yield Finding(what, f"{found} ({time.perf_counter() - start:.1f} s)")


def _render(root: Path) -> str:
    recipe = Recipe(num_views=_VIEWS, image_size=_SIZE)
    source = ProceduralSource(_OBJECTS)
    generate(source, recipe, root / "data", val_fraction=0.25, progress=False)
    return f"{_OBJECTS * _VIEWS} views of {_SIZE} px"


def _read(root: Path) -> str:
    data = ViewDataModule(str(root / "data"), batch_size=4, num_workers=1)
    number = sum(batch.images.shape[0] * batch.images.shape[1] for batch in data.train_dataloader())
    return f"{number} views through a loader process"


def _train(root: Path) -> str:
    data = ViewDataModule(str(root / "data"), batch_size=4, num_workers=0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    method = SIE(BackboneConfig("resnet18"), projector_widths=(64, 64)).to(device).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3, fused=True)
    loader = data.train_dataloader()
    losses: list[float] = []
    while len(losses) < _STEPS:
        for batch in loader:
            batch = data.on_after_batch_transfer(batch.to(device), 0)
            terms = method.terms(method.encode_views(batch.images), batch)
            loss = method.total(terms)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
    if not all(loss == loss for loss in losses):
        raise ArithmeticError("the loss is not a number")
    torch.save(method.state_dict(), root / "state.pt")
    return f"{len(losses)} steps of SIE on {device}"


def _save(root: Path) -> str:
    with atomic_write(root / "a.ckpt") as file:
        torch.save(torch.load(root / "state.pt", weights_only=True), file)
    return f"{len(read_checkpoint(root / 'a.ckpt'))} tensors, read again"
