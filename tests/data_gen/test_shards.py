from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from data_gen.generate import generate, parse_shard
from data_gen.mesh_sources import MeshFolderSource
from data_gen.sources import ProceduralSource
from ssl_equiv import cli
from ssl_equiv.data.record import MANIFEST
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError
from tests.data_gen.stored import SMALL, digest, meshes, shapenet

pytestmark = pytest.mark.render

ROOT = Path(__file__).parents[2]
CLASSES = ("chair", "mug", "lamp")


def make(root: Path, objects: int = 9, **options: object):  # type: ignore[no-untyped-def]
    arguments = {"num_workers": 0, "progress": False, "objects_per_shard": 2, **options}
    return generate(ProceduralSource(objects, CLASSES), SMALL, root, **arguments)  # type: ignore[arg-type]


def start(root: Path, objects: int, **options: object) -> ForkServerProcess:
    """The same in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.data_gen.test_shards"])  # imports once, for all
    process = context.Process(target=make, args=(root, objects), kwargs=options)
    process.start()
    return process


def end(process: ForkServerProcess) -> int | None:
    process.join()
    return process.exitcode


@pytest.fixture(scope="module", params=["shards", "folder"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / request.param
    make(root, layout=request.param)
    return root


@pytest.mark.parametrize("jobs", [2, 4, 7])
def test_any_number_of_jobs_makes_the_same_bytes(whole: Path, tmp_path: Path, jobs: int) -> None:
    order = np.random.default_rng(jobs).permutation(jobs).tolist()
    left = []
    for job in order:
        outcome = make(tmp_path / "out", layout=whole.name, shard=f"{job}/{jobs}")
        left.append(outcome.left)
        assert (outcome.manifest is None) == (outcome.left > 0)
        assert (tmp_path / "out" / MANIFEST).exists() == (outcome.left == 0)
    assert left == sorted(left, reverse=True)
    assert digest(tmp_path / "out") == digest(whole)


def test_a_plain_run_completes_what_jobs_left(whole: Path, tmp_path: Path) -> None:
    make(tmp_path, layout=whole.name, shard="1/3")
    make(tmp_path, layout=whole.name)
    assert digest(tmp_path) == digest(whole)


def test_the_outcome_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["generate", "--num_objects", "3", "--out", str(tmp_path / "out"), "--num_workers", "0"]
    args += ["--recipe", "{num_views: 1, image_size: 16}", "--objects_per_shard", "1"]
    assert cli.main([*args, "--shard", "0/2"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "share 0/2 is done; 1 of 3 objects are left to other jobs" in line
    assert cli.main([*args, "--shard", "1/2"]) == 0
    assert "3 objects of 45 classes, 1 views each" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["2/2", "1", "a/2", "-1/2", "1/0", "0/-1", "/", "1/2/3"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=r"give I/N with I from 0 to N-1"):
        parse_shard(text)


def test_a_second_run_is_refused_and_jobs_share(whole: Path, tmp_path: Path) -> None:
    make(tmp_path, layout=whole.name, shard="0/9")
    before = digest(tmp_path)
    live = tmp_path / ".of-a-live-job.partial"
    live.touch()
    with open(tmp_path / "plan.json") as other:  # as another run holds it
        fcntl.flock(other, fcntl.LOCK_EX)
        for shard in (None, "1/9"):
            with pytest.raises(UserError, match="another run is writing into"):
                make(tmp_path, layout=whole.name, shard=shard)
        assert digest(tmp_path).keys() == {*before, live.name}
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="another run is writing into"):
            make(tmp_path, layout=whole.name)
        make(tmp_path, layout=whole.name, shard="1/9")
        assert live.exists()
        os.utime(live, (0, 0))  # no job writes a file for a day
        make(tmp_path, layout=whole.name, shard="2/9")
        assert not live.exists()
    live.touch()
    make(tmp_path, layout=whole.name)
    assert digest(tmp_path) == digest(whole)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [["0/3", "1/3", "2/3"], ["0/2", "0/2", "1/2", "1/2"]])
def test_jobs_at_the_same_time(whole: Path, tmp_path: Path, jobs: list[str]) -> None:
    """The same share twice is a job that was started again while it still ran: it is harmless."""
    running = [start(tmp_path, 9, layout=whole.name, shard=job) for job in jobs]
    assert [end(job) for job in running] == [0] * len(jobs)
    assert digest(tmp_path) == digest(whole)


@pytest.mark.slow
def test_plain_runs_at_the_same_time(whole: Path, tmp_path: Path) -> None:
    running = [start(tmp_path, 9, layout=whole.name) for _ in range(3)]
    codes = [end(job) for job in running]
    assert 0 in codes  # the others were refused, or came after it
    assert digest(tmp_path) == digest(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "num_workers", "times"), [("shards", 0, 20), ("folder", 0, 20), ("shards", 2, 5)]
)
def test_kills(tmp_path: Path, layout: str, num_workers: int, times: int) -> None:
    objects = 150
    make(tmp_path / "whole", objects, layout=layout)
    root, kills, rng = tmp_path / "cut", 0, np.random.default_rng(0)
    while kills < times and not (root / MANIFEST).exists():
        # every other run is a job of an array; all are cut at a moment of their writing
        share = f"{kills % 3}/3" if kills % 2 else None
        process = start(root, objects, layout=layout, num_workers=num_workers, shard=share)
        seen = _size(root)
        while process.is_alive() and _size(root) == seen:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.08))
        process.kill()
        kills += end(process) == -signal.SIGKILL
    assert kills == times
    assert end(start(root, objects, layout=layout, num_workers=num_workers)) == 0
    assert digest(root) == digest(tmp_path / "whole")


def _size(root: Path) -> int:
    return sum(len(files) + len(folders) for _, folders, files in os.walk(root))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "disk"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(root)]
    if not hasattr(os, "geteuid") or os.geteuid() or subprocess.run(mount, stderr=-3).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_a_full_disk(small_disk: Path, tmp_path: Path, layout: str) -> None:
    with pytest.raises(UserError, match="the disk is full: free some space"):
        make(small_disk, 30, layout=layout)
    assert not list(small_disk.rglob("*.partial"))
    kept = digest(small_disk)
    assert len(kept) > 1
    assert MANIFEST not in kept
    resize = ["mount", "-o", "remount,size=8m", "none", str(small_disk)]
    subprocess.run(resize, check=True)
    make(small_disk, 30, layout=layout)
    assert kept.items() <= digest(small_disk).items()  # what was finished was not made again
    make(tmp_path / "whole", 30, layout=layout)
    assert digest(small_disk) == digest(tmp_path / "whole")
    subprocess.run(["mount", "-o", "remount,ro", "none", str(small_disk)], check=True)
    with pytest.raises(UserError, match="the file system is read-only"):
        make(small_disk, 30, layout=layout)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"a file, not a folder|a file stands where"):
        make(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot write .*/proc"):
        make(Path("/proc/nowhere"))


def test_a_changed_mesh_is_not_resumed(tmp_path: Path) -> None:
    root = meshes(tmp_path / "meshes", 2)
    generate(MeshFolderSource(root), SMALL, tmp_path / "out", num_workers=0, progress=False)
    with open(root / "cup" / "m1.obj", "a") as file:
        file.write("# changed\n")
    with pytest.raises(UserError, match=r"begun with another plan \(meshes\.cup/m1 was m1\.obj of"):
        generate(MeshFolderSource(root), SMALL, tmp_path / "out", num_workers=0, progress=False)
    (tmp_path / "moved").mkdir()
    generate(  # where the meshes lie does not matter
        MeshFolderSource(meshes(tmp_path / "moved", 3)), SMALL, tmp_path / "new", num_workers=0
    )


def test_names_that_file_systems_refuse(tmp_path: Path) -> None:
    for number, name in enumerate((b"n" * 201, b"caf\xe9")):
        root = meshes(tmp_path / str(number), 1)
        place = os.fsencode(root / "cup")
        os.rename(place + b"/m0.obj", place + b"/" + name + b".obj")
        with pytest.raises(UserError, match=r"has 201 bytes: shorten|is not UTF-8: rename") as told:
            MeshFolderSource(root)
        str(told.value).encode()  # it can be printed


@pytest.mark.parametrize("name", ["manifest.json", "plan.json", "train_images.npy"])
def test_a_class_named_as_our_files(tmp_path: Path, name: str) -> None:
    root = meshes(tmp_path / "meshes", 2)
    (root / "cup").rename(root / name)
    source = MeshFolderSource(root)
    with pytest.raises(UserError, match="has the name of a file of the data set: rename"):
        generate(source, SMALL, tmp_path / "out", layout="folder")
    assert not (tmp_path / "out").exists()
    generate(source, SMALL, tmp_path / "out", num_workers=0, progress=False)


@pytest.mark.parametrize("bad", [(), ("z_broken",)])
def test_a_shard_cut_in_its_padding_is_made_again(tmp_path: Path, bad: tuple[str, ...]) -> None:
    source = MeshFolderSource(meshes(tmp_path / "meshes", 2, bad))
    generate(source, SMALL, tmp_path / "out", num_workers=0, progress=False)
    before = digest(tmp_path / "out")
    path = tmp_path / "out" / "shard-000000.tar"
    for cut in (1, 512, 1024):
        os.truncate(path, path.stat().st_size - cut)
        generate(source, SMALL, tmp_path / "out", num_workers=0, progress=False)
        assert digest(tmp_path / "out") == before


def test_a_dangerous_name_stops_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = meshes(tmp_path / "meshes", 1)
    (root / "cup" / "m0.obj").rename(root / "cup" / "a..b.obj")
    args = ["--objects", str(root), "--out", str(tmp_path / "out")]
    assert cli.main(["generate", *args]) == 2
    assert "is refused: rename it without '..'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_a_shapenet_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    root = shapenet(tmp_path / "ShapeNetCore.v2")
    common = ["generate", "--config", str(ROOT / "configs/data/3diebench_t.yaml")]
    common += ["--objects", f"shapenet:{root}", "--recipe.image_size", "32", "--layout", layout]
    common += ["--recipe.num_views", "4", "--objects_per_shard", "2", "--num_workers", "0"]
    assert cli.main([*common, "--out", str(tmp_path / "one")]) == 0
    for job in (1, 0):
        assert cli.main([*common, "--out", str(tmp_path / "two"), "--shard", f"{job}/2"]) == 0
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    source = open_source(tmp_path / "one")
    assert source.objects == ("02/a", "02/b", "03/a", "03/c", "03/painted")
    assert source.read(4, [3])[1].shape == (1, 10)
    capsys.readouterr()
    assert cli.main(["generate", "--verify", str(tmp_path / "one")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert "SHA-256 of 5 files" in lines[-2]
    assert "10 files of 5 objects made again, 10 the same byte for byte" in lines[-1]


def test_rendering_processes_are_without_torch() -> None:
    command = "import sys, data_gen.pool, data_gen.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_a_large_mesh_fits_into_the_memory(tmp_path: Path) -> None:
    """328k triangles at 256 pixels with every output, in the process that renders and this one."""
    folder = tmp_path / "meshes" / "torus"
    folder.mkdir(parents=True)
    torus = trimesh.creation.torus(1.0, 0.4, major_sections=512, minor_sections=320)
    torus.export(folder / "large.obj")
    command = (
        "import re, resource, sys\nfrom data_gen.generate import generate\n"
        "from data_gen.recipe import Recipe\nfrom data_gen.mesh_sources import MeshFolderSource\n"
        "if __name__ == '__main__':\n"
        "    generate(MeshFolderSource(sys.argv[1]), Recipe(), sys.argv[2], num_workers=1,\n"
        "             outputs=('depth', 'normals', 'mask'), progress=False)\n"
        # ru_maxrss of this process would begin at the size of the one that started it
        "    print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    (tmp_path / "run.py").write_text(command)
    arguments = [sys.executable, tmp_path / "run.py", tmp_path / "meshes", tmp_path / "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(arguments, env=environment, stdout=-1, text=True, check=True).stdout
    assert all(int(kilobytes) < 1.5e6 for kilobytes in told.split())
    assert open_source(tmp_path / "out").failed == {}
