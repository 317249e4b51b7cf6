"""The ``ssl-equiv`` command."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import nullcontext
from importlib import import_module

from ssl_equiv.cli.shipped import with_shipped
from ssl_equiv.errors import UserError, user_error
from ssl_equiv.signals import watching

COMMANDS = {
    "demo": "generate, pretrain, judge, export and report, in a few minutes",
    "generate": "render a multi-view data set whose views are group elements",
    "simulate": "LiDAR sweeps of streets in motion, as KITTI writes them",
    "pack": "turn a LiDAR data set into shards of pairs of sweeps",
    "convert": "turn the published tarball or folder into shards, and shards into the folder",
    "pretrain": "train a method on a data set",
    "eval": "linear probe and rotation R2 of a backbone on a data set",
    "detect": "fine-tune an encoder of LiDAR sweeps to find objects, and judge it",
    "report": "compare any number of runs on one page",
    "submit": "run any of these as jobs on a Slurm cluster",
    "export": "turn a backbone into a folder for timm, transformers, ONNX or torch.export",
    "push": "upload such a folder to the Hugging Face hub",
    "doctor": "look at this machine, try everything briefly, and say what to mend",
    "completion": "print a script that completes these in bash or zsh",
}
_MODULES = {"eval": "evaluate"}
_USAGE = "\n".join(
    ["usage: ssl-equiv COMMAND [options]", "", "commands:"]
    + [f"  {name:10} {what}" for name, what in COMMANDS.items()]
    + ["", "'ssl-equiv COMMAND --help' shows a command's options."]
)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0; 2 for what the user can mend, 130 for Ctrl-C; other codes are the
        command's own.
    """
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if args else 2
    # Lightning's own use of a deprecated PyTorch function, and its advertisement
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec", FutureWarning)
    warnings.filterwarnings("ignore", ".*instantiate_classes.. was deprecated")
    # true of every machine with Slurm on it; a job is recognised without this
    warnings.filterwarnings("ignore", ".*srun. command is available")
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").addFilter(_no_advertisement)
    try:
        if args[0] == "--version":
            from ssl_equiv import __version__

            print(__version__)
        else:
            # a run's signals may come before it is imported
            with watching() if args[0] == "pretrain" else nullcontext():
                code = _command(args[0])(with_shipped([_underscored(arg) for arg in args[1:]]))
            return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        # loaders' workers, process pools and parsers wrap what went wrong in exceptions of theirs
        # "no such accelerator" and the like: Lightning's own words for what the user can mend
        cause = user_error(error) or (
            error if type(error).__name__ == "MisconfigurationException" else None
        )
        if cause is None:
            raise
        print(f"error: {' '.join(str(cause).split())}", file=sys.stderr)
        return 2
    return 0


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless" not in str(record.msg) and "`weights_only` was not set" not in str(
        record.msg
    )


def _underscored(arg: str) -> str:
    """``--num-objects=3`` as ``--num_objects=3``: both spellings are understood."""
    if not arg.startswith("--"):
        return arg
    key, equals, value = arg[2:].partition("=")
    return f"--{key.replace('-', '_')}{equals}{value}"


def _command(name: str):  # type: ignore[no-untyped-def]
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it is one of {', '.join(COMMANDS)}"
        raise UserError(f"no command {name!r}: {hint}")
    # each command imports what it needs: --help stays instant
    return import_module(module_of(name)).main


def module_of(command: str) -> str:
    """The module that runs a command."""
    return f"ssl_equiv.cli.{_MODULES.get(command, command)}"
