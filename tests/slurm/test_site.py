from __future__ import annotations

from pathlib import Path

import pytest

from slurm.site import Site, read_site, site_file
from ssl_equiv.errors import UserError

FILE = """
account: me
time: 24:00:00
mem: 64G
gpus_per_node: 8
sbatch: --exclusive
env: {A: 1, B: yes}
setup:
  - module load cuda
generate: {partition: cpu, env: {A: 2}}
report:
"""


def test_a_section_overrides_and_values_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(FILE)
    site = read_site(path, "pretrain")
    assert site == Site(
        account="me",
        time="24:00:00",  # which YAML takes for 86400
        mem="64G",
        gpus_per_node="8",
        sbatch=("--exclusive",),
        env={"A": "1", "B": "yes"},
        setup=("module load cuda",),
    )
    cpu = read_site(path, "generate")
    assert (cpu.partition, cpu.account, cpu.env) == ("cpu", "me", {"A": "2", "B": "yes"})
    assert cpu.gpus_per_node == ""  # no GPU where none is used, unless the section says so
    assert read_site(None, "eval") == Site()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acount: me", "unknown key acount: did you mean account?"),
        ("zzz: me", "unknown key zzz: it is one of account, partition"),
        ("eval: {partion: x}", "eval: unknown key partion: did you mean partition?"),
        ("env: [A]", "env must be a mapping"),
        ("setup: {a: b}", "setup must be a list"),
        ("account: [a]", "account must be one value"),
        ("gpus_per_node: many", "gpus_per_node is 'many': give a whole number"),
        ("eval: cpu", "eval must hold keys"),
        ("- a", "must hold keys"),
        ("a: [", "is not readable YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        read_site(path, "pretrain")
    assert message in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_which_file_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_EQUIV_SLURM", raising=False)
    assert site_file() is None
    own = tmp_path / ".config" / "ssl-equiv" / "slurm.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert site_file() == own
    monkeypatch.setenv("SSL_EQUIV_SLURM", str(tmp_path / "other.yaml"))
    with pytest.raises(UserError, match="it is named by SSL_EQUIV_SLURM"):
        site_file()
    (tmp_path / "other.yaml").write_text("")
    assert site_file() == tmp_path / "other.yaml"
    with pytest.raises(UserError, match="it is named by --site"):
        site_file(str(tmp_path / "third.yaml"))
