"""What the site takes from beside this folder: METHODS, CONTRIBUTING, CHANGELOG, docstrings."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the tables of benchmarks; mkdocs takes it out again

from docs import assembled  # noqa: E402

BESIDE = {
    "methods.md": "METHODS.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
PACKAGES = (
    "ssl_equiv.groups",
    "ssl_equiv.transforms",
    "ssl_equiv.backbones",
    "ssl_equiv.backbones.lidar",
    "ssl_equiv.heads",
    "ssl_equiv.losses",
    "ssl_equiv.data",
    "ssl_equiv.data.lidar",
    "ssl_equiv.methods",
    "ssl_equiv.regularizers",
    "ssl_equiv.detection",
    "ssl_equiv.export",
    "data_gen",
    "data_gen.lidar",
    "eval",
    "eval.evaluators",
)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Name the pages of folders in the navigation."""
    for entry in config["nav"]:
        _open_folders(entry)
    return config


def _open_folders(entry: dict[str, Any]) -> None:
    """Put the pages of a folder in its place: the index, then by name, methods as in METHODS.md."""
    for title, target in entry.items():
        if isinstance(target, list):
            for inner in target:
                if isinstance(inner, dict):
                    _open_folders(inner)
        elif target == "reference/":
            entry[title] = [{name: f"reference/{name}.md"} for name in PACKAGES]
        elif target == "methods/":
            entry[title] = [f"methods/{module}.md" for module in assembled.modules().values()]
        elif target.endswith("/"):
            pages = sorted((ROOT / "docs" / target).glob("*.md"))
            names = [f"{target}{page.name}" for page in pages]
            entry[title] = sorted(names, key=lambda name: not name.endswith("README.md"))


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
    """Add what is made of other files; links that leave the site become plain names."""
    here = posixpath.dirname(page.file.src_uri)
    markdown = _completed(markdown, page.file.src_uri)

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
    """Take Sphinx's marks out of docstrings: of its roles the name is shown."""
    html = html.replace("::</p>", ":</p>")
    return re.sub(r":(?:func|class|meth|mod|data|attr):<code>~?", "<code>", html)


def _completed(markdown: str, uri: str) -> str:
    """A page with its assembled part."""
    if uri == "methods.md":
        for name, module in assembled.modules().items():
            markdown = markdown.replace(f"\n| `{name}` |", f"\n| [`{name}`](methods/{module}.md) |")
        return markdown
    if uri == "benchmarks.md":
        return f"{markdown}\n\n{assembled.benchmarks()}\n"
    if uri in assembled.ARGUMENTS:
        return f"{markdown}\n\n{assembled.arguments(assembled.ARGUMENTS[uri])}\n"
    of_page = {f"methods/{module}.md": name for name, module in assembled.modules().items()}
    return f"{markdown}\n\n{assembled.method(of_page[uri])}\n" if uri in of_page else markdown


def _moved(text: str) -> str:
    """Links of a file of the repository's root, as seen from the site's."""
    return text.replace("](docs/", "](")


def _modules(package: str) -> list[str]:
    """A package's public modules, by their names."""
    folder = ROOT / package.replace(".", "/")
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return [f"{package}.{name}" for name in names]
