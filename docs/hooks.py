"""What the site takes from beside this folder: METHODS, CONTRIBUTING, CHANGELOG, docstrings."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = {
    "methods.md": "METHODS.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
PACKAGES = (
    "ssl_equiv.groups",
    "ssl_equiv.transforms",
    "ssl_equiv.backbones",
    "ssl_equiv.heads",
    "ssl_equiv.losses",
    "ssl_equiv.data",
    "ssl_equiv.methods",
    "ssl_equiv.export",
    "data_gen",
    "eval",
)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Name the pages of a folder in the navigation, in the order of their names."""
    for entry in config["nav"]:
        for title, target in entry.items():
            if target == "evaluators/":
                pages = sorted((ROOT / "docs" / "evaluators").glob("*.md"))
                names = [f"evaluators/{page.name}" for page in pages]
                names.sort(key=lambda name: not name.endswith("README.md"))
                entry[title] = names
            elif target == "reference/":
                entry[title] = [{name: f"reference/{name}.md"} for name in PACKAGES]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere, and one for each package's docstrings."""
    for name, path in BESIDE.items():
        text = (ROOT / path).read_text()
        files.append(File.generated(config, name, content=_moved(text)))
    for package in PACKAGES:
        modules = "\n\n".join(f"::: {module}" for module in _modules(package))
        own = f"::: {package}\n    options:\n      members: false\n      heading_level: 1"
        content = f"{own}\n\n{modules}\n"
        files.append(File.generated(config, f"reference/{package}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that leave the site become plain names: the files are in the repository."""
    here = posixpath.dirname(page.file.src_uri)

    def inside(match: re.Match[str]) -> str:
        text, target, place = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(here, target))
        # a folder is its index; what lies beside the site is its page here
        names = [path, f"{path}/README.md"]
        names += [name for name, beside in BESIDE.items() if posixpath.basename(path) == beside]
        for name in names:
            if files.get_file_from_path(name) is not None:
                return f"[{text}]({posixpath.relpath(name, here or '.')}{place})"
        return text

    return _LINK.sub(inside, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Docstrings name other things by Sphinx's roles: the name alone is shown."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):<code>~?", "<code>", html)


def _moved(text: str) -> str:
    """Links of a file of the repository's root, as seen from the site's."""
    return text.replace("](docs/", "](")


def _modules(package: str) -> list[str]:
    """A package's public modules, by their names."""
    folder = ROOT / package.replace(".", "/")
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return [f"{package}.{name}" for name in names]
