from __future__ import annotations

import json
import os
import signal
import tarfile
import time
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

from data_gen.generate import allowed_failures, generate
from data_gen.mesh import Mesh
from data_gen.mesh_sources import MeshFolderSource
from data_gen.pool import _STARTS, _Pool, _Worker
from data_gen.sources import ProceduralSource
from data_gen.verify import verify
from data_gen.work import Job
from ssl_equiv import cli
from ssl_equiv.data.record import MANIFEST, Manifest, index_name
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError
from tests.data_gen.stored import SMALL, digest, meshes, wedge

pytestmark = pytest.mark.render

NAMES = ["cup/broken", *(f"cup/m{i}" for i in range(5))]


class Deadly(ProceduralSource):
    """Objects of which number 1 raises what no loader should, and number 3 kills its process."""

    def __init__(self, once: Path | None = None) -> None:
        super().__init__(6, ("mug", "lamp"))
        self.once = once

    def load(self, index: int) -> Mesh:
        if index == 1 and self.once is None:
            raise ZeroDivisionError("on two\nlines")
        if index == 3 and (self.once is None or not self.once.exists()):
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)


@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_a_failed_object_keeps_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    root, out = meshes(tmp_path / "meshes", 5, ("broken",)), tmp_path / "out"
    args = ["--objects", str(root), "--out", str(out), "--layout", layout, "--num_workers", "0"]
    args += ["--recipe", "{num_views: 3, image_size: 32}", "--objects_per_shard", "4"]
    assert cli.main(["generate", *args]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.endswith("; 1 failed (in no split; 'failed' in manifest.json tells why)")
    manifest = Manifest.read(out)
    assert list(manifest.objects) == NAMES
    assert list(manifest.failed) == ["cup/broken"]
    assert "broken.obj" in manifest.failed["cup/broken"]
    assert sorted(i for part in manifest.split.values() for i in part) == [1, 2, 3, 4, 5]
    source = open_source(out)
    with pytest.raises(UserError, match=r"object 0 \(cup/broken\) has no views, it failed when"):
        source.read(0, [0])
    assert len(source.read(1, [0, 2])[0]) == 2
    assert verify(out)
    before = digest(out)
    assert cli.main(["generate", *args]) == 0  # nothing is tried again
    assert digest(out) == before
    if layout == "shards":
        path = out / "shard-000000.tar"
        table = np.load(out / index_name(path.name))
        assert not table[0].any()
        assert table[1:].all()
        with tarfile.open(path) as tar:
            told = json.load(tar.extractfile("000000.json"))  # type: ignore[arg-type]
            assert told["failed"] == manifest.failed["cup/broken"]
            assert not any(n.startswith("000000.") and n != "000000.json" for n in tar.getnames())
        (out / index_name(path.name)).unlink()  # the tar's headers tell the same
        fresh = open_source(out)
        assert fresh.read(2, [1])[0] == source.read(2, [1])[0]
        with pytest.raises(UserError, match="has no views"):
            fresh.read(0, [0])


def test_failures_do_not_change_the_others(tmp_path: Path) -> None:
    for name, bad in (("with", ("a_broken", "z_broken")), ("without", ())):
        source = MeshFolderSource(meshes(tmp_path / name, 5, bad))
        generate(source, SMALL, tmp_path / f"out-{name}", num_workers=0, progress=False)
    one, other = (open_source(tmp_path / f"out-{name}") for name in ("with", "without"))
    for index in range(5):
        (images, latents), (images2, latents2) = one.read(index + 1, [0]), other.read(index, [0])
        assert images == images2
        np.testing.assert_array_equal(latents, latents2)


def test_too_many_failures_stop_and_can_be_resumed(tmp_path: Path) -> None:
    source = MeshFolderSource(meshes(tmp_path / "meshes", 4, ("x", "y", "z")))
    options = {"num_workers": 0, "progress": False, "objects_per_shard": 2}
    with pytest.raises(
        UserError, match=r"3 of 7 objects failed, more than the 2 .*cup/x: .*x\.obj"
    ):
        generate(source, SMALL, tmp_path / "out", max_failures=2, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert (tmp_path / "out" / "shard-000001.tar").exists()  # what was finished is kept
    assert not list((tmp_path / "out").glob(".*"))
    generate(source, SMALL, tmp_path / "out", max_failures=3, **options)  # type: ignore[arg-type]
    generate(source, SMALL, tmp_path / "whole", max_failures=0.5, **options)  # type: ignore[arg-type]
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_a_number_of_failures_is_whole(tmp_path: Path) -> None:
    for number in (1.5, float("inf"), float("nan"), -1):
        with pytest.raises(UserError, match="give a share below 1, or a whole number of objects"):
            generate(ProceduralSource(1), SMALL, tmp_path / "out", max_failures=number)


@pytest.mark.parametrize(
    ("given", "objects", "allowed"),
    [
        *((None, 52_000, 520), (None, 100, 5), (None, 3, 2), (None, 1, 0)),
        *((0.1, 15, 2), (0, 9, 0), (4, 100, 4), (40, 10, 9)),
    ],
)
def test_how_many_may_fail(given: float | None, objects: int, allowed: int) -> None:
    assert allowed_failures(given, objects) == allowed


def test_failed_objects_are_tried_again_on_request(tmp_path: Path) -> None:
    root = meshes(tmp_path / "meshes", 4)
    whole = (root / "cup" / "m2.obj").read_bytes()
    (root / "cup" / "m2.obj").write_bytes(b"# empty")
    options = {"num_workers": 0, "progress": False, "objects_per_shard": 2}
    generate(MeshFolderSource(root), SMALL, tmp_path / "out", **options)  # type: ignore[arg-type]
    kept = (tmp_path / "out" / "shard-000000.tar").stat()
    (root / "cup" / "m2.obj").write_bytes(whole)
    source = MeshFolderSource(root)
    generate(source, SMALL, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert Manifest.read(tmp_path / "out").failed
    generate(source, SMALL, tmp_path / "out", retry_failed=True, **options)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "shard-000000.tar").stat() == kept
    generate(source, SMALL, tmp_path / "new", **options)  # type: ignore[arg-type]
    done = digest(tmp_path / "out")
    assert done | {"plan.json": ""} == digest(tmp_path / "new") | {"plan.json": ""}
    generate(source, SMALL, tmp_path / "out", retry_failed=True, **options)  # type: ignore[arg-type]
    assert digest(tmp_path / "out") == done
    assert verify(tmp_path / "out")
    wedge(root / "cup" / "m2.obj", 30.25)  # now it counts like any other
    with pytest.raises(UserError, match=r"plan \(meshes\.cup/m2 was m2\.obj of 7 bytes, now"):
        generate(MeshFolderSource(root), SMALL, tmp_path / "out", **options)  # type: ignore[arg-type]


class Process:
    exitcode = -9

    def join(self) -> None: ...


def test_who_dies_without_an_object_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(pool: _Pool, warm: bool = False) -> None:
        pool.workers.append(_Worker(Process(), Pipe()[0]))

    monkeypatch.setattr(_Pool, "_add", add)
    job = Job(ProceduralSource(2), SMALL, 0)
    pool = _Pool(job, [0, 1], 2)
    with pytest.raises(UserError, match="was killed by SIGKILL before it had an object"):
        pool._lost(pool.workers[0])  # the first one: others would die too
    pool = _Pool(job, [0, 1], 2)
    pool.begun = pool.workers[0].ready = True
    pool._lost(pool.workers[0])  # it waited
    assert [worker.ready for worker in pool.workers] == [False]
    for _ in range(_STARTS - 1):
        pool._lost(pool.workers[0])
        assert len(pool.workers) == 1
    with pytest.raises(UserError, match="before it had an object"):
        pool._lost(pool.workers[0])


class Jealous(ProceduralSource):
    """Object 0 waits for object 1 and kills the process that made it, which is idle by then."""

    def __init__(self, place: Path) -> None:
        super().__init__(2, ("mug", "lamp"))
        self.place = place

    def load(self, index: int) -> Mesh:
        pid = self.place / "pid"
        if index == 1:
            (self.place / "new").write_text(str(os.getpid()))
            (self.place / "new").rename(pid)
        else:
            while not pid.exists():
                time.sleep(0.01)
            time.sleep(2)
            if int(pid.read_text()) != os.getpid():
                os.kill(int(pid.read_text()), signal.SIGKILL)
                time.sleep(0.5)
        return super().load(index)


@pytest.mark.slow
def test_an_idle_process_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    made = generate(Jealous(tmp_path), SMALL, tmp_path / "out", num_workers=2, progress=False)
    assert made.failed == {}
    assert made.manifest is not None


@pytest.mark.slow
def test_a_crash_and_a_killed_process(tmp_path: Path) -> None:
    made = generate(Deadly(), SMALL, tmp_path / "out", num_workers=2, progress=False)
    assert made.failed == {
        "lamp/0-00000": "ZeroDivisionError: on two lines",
        "lamp/0-00001": "its process was killed by SIGKILL, twice; it may need more memory than "
        "there is",
    }
    source = open_source(tmp_path / "out")
    plain = ProceduralSource(6, ("mug", "lamp"))
    generate(plain, SMALL, tmp_path / "plain", num_workers=0, progress=False)
    for index in (0, 2, 4, 5):
        assert (
            source.read(index, [0, 1, 2])[0]
            == open_source(tmp_path / "plain").read(index, [0, 1, 2])[0]
        )


@pytest.mark.slow
def test_a_process_that_is_killed_once_costs_nothing(tmp_path: Path) -> None:
    made = generate(
        Deadly(tmp_path / "once"), SMALL, tmp_path / "out", num_workers=2, progress=False
    )
    assert (tmp_path / "once").exists()
    assert made.failed == {}
    plain = ProceduralSource(6, ("mug", "lamp"))
    generate(plain, SMALL, tmp_path / "plain", num_workers=0, progress=False)
    assert digest(tmp_path / "out") == digest(tmp_path / "plain")
