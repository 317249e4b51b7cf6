"""``ssl-equiv push``: an export to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils._validators import validate_repo_id
from rich.console import Console

from ssl_equiv.errors import UserError
from ssl_equiv.export import SIDECAR
from ssl_equiv.parsing import call


def main(args: list[str]) -> None:
    """Run ``ssl-equiv push`` with command-line arguments ``args``."""
    call(push, args, "push", {"folder": "Folder that 'ssl-equiv export' has made."})


def push(folder: str, *, repo: str, private: bool = False, dry_run: bool = False) -> None:
    """Upload an export, so that timm loads it by hf-hub:REPO.

    Args:
        folder: Folder that 'ssl-equiv export' has made.
        repo: Where to, as USER/NAME.
        private: Make a new repository private.
        dry_run: Show what would be uploaded, upload nothing.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.is_file())
    if SIDECAR not in {path.name for path in files}:
        raise UserError(f"{folder} is no export: make one with 'ssl-equiv export'")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"repo {repo!r}: {error}") from error
    if "/" not in repo:
        raise UserError(f"repo is {repo!r}: give USER/NAME")
    console = Console(highlight=False, soft_wrap=True)
    for path in files:
        console.print(f"{path.stat().st_size / 1e6:10.2f} MB  {path.name}")
    if dry_run:
        console.print(f"would go to https://huggingface.co/{repo}; nothing was uploaded")
        return
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message="ssl-equiv export"
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"the hub refuses {repo}: {reason[0]} (log in with 'hf auth login'; see what would be "
            "uploaded with --dry_run true)"
        ) from error
    console.print(str(done))
    if any(path.name == "config.json" for path in files):
        console.print(f'load it with timm.create_model("hf-hub:{repo}", pretrained=True)')
