"""``ssl-equiv pack``: a LiDAR data set as WebDataset shards of pairs of sweeps."""

from __future__ import annotations

from data_gen.lidar.pack import pack
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.data.lidar.shards import MANIFEST
from ssl_equiv.files import read_json
from ssl_equiv.parsing import call

_SHOWN = 20


def main(args: list[str]) -> None:
    """Run ``ssl-equiv pack`` with command-line arguments ``args``."""
    call(run, args, "pack", {"src": "Root of a LiDAR data set (docs/lidar_data.md)."})


def run(
    src: str,
    *,
    out: str,
    every: int = 1,
    sweeps_per_shard: int = 200,
    skip_bad_sweeps: bool = False,
    progress: bool = True,
) -> None:
    """Pack a LiDAR data set into shards, a record for each sweep and the one before it.

    Args:
        src: Root of a LiDAR data set (docs/lidar_data.md).
        out: Folder of the shards, for --data.root; run again to continue.
        every: Take each sequence's every n-th sweep; the one before it comes along all the same.
        sweeps_per_shard: Records in one tar file.
        skip_bad_sweeps: Leave out sweeps that cannot be read, instead of stopping.
        progress: Show a progress bar.
    """
    failed = pack(open_lidar(src), out, every, sweeps_per_shard, skip_bad_sweeps, progress)
    for reason in list(failed.values())[:_SHOWN]:
        print(f"left out: {reason}")
    told = read_json(f"{out}/{MANIFEST}")
    split = ", ".join(f"{len(members)} {name}" for name, members in told["split"].items())
    left_out = f"; {len(failed)} left out" if failed else ""
    print(f"{out}: {len(told['shards'])} shards of sweeps ({split}){left_out}")
