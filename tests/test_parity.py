from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import parity

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(path for path in GOLDEN.glob("*.npz") if not path.name.startswith("cycles"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_published_numbers(path: Path) -> None:
    agrees, line = parity.check(path)
    assert agrees, line


def test_a_changed_number_is_found(tmp_path: Path) -> None:
    for source in FILES:
        arrays = dict(np.load(source))
        name = next(n for n in ("loss", "out", "r2", "MRR", "quat_xyzw") if n in arrays)
        arrays[name] = arrays[name] * 1.001
        np.savez(tmp_path / source.name, **arrays)
        agrees, line = parity.check(tmp_path / source.name)
        assert not agrees, line


def test_unknown_kinds_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(FILES[0], tmp_path)
    assert parity.main(str(tmp_path)) == 0
    np.savez(tmp_path / "surprise.npz", x=np.zeros(1))
    assert parity.main(str(tmp_path)) == 1
    assert "surprise.npz: no method here makes this kind of file" in capsys.readouterr().out
    assert parity.main(str(tmp_path / "nothing")) == 2
