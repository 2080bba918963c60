"""Builds the documentation as a site: search, the printed reference, and the page of a small edition to click through.

`make docs` calls it after `docs/printed.py`. The pages are copied into .cache/site/pages, where each keeps its place in
the repository, so that every relative link leads where it leads on disk. The navigation is that of docs/index.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache" / "site"
PAGES = WORK / "pages"
MKDOCS = ROOT / ".cache" / "docs" / "bin" / "python"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
STYLE = """.md-typeset table:not([class]) { font-size: .7rem; }
.md-typeset table:not([class]) th { min-width: 3rem; }
.md-typeset table:not([class]) td { overflow-wrap: break-word; }
.md-typeset table:not([class]) td code { overflow-wrap: anywhere; }
.md-typeset table:not([class]) td:first-child { min-width: 5rem; }
.md-typeset table:not([class]) td:last-child:not(:only-child) { min-width: 9rem; }
.md-typeset iframe { width: 100%; height: 80vh; border: 1px solid var(--md-default-fg-color--lightest); }
"""
WIDE = "---\nhide: [navigation]\n---\n"
DEMO = f"""{WIDE}# Click through an edition

This is the page that `variorum view imagenet_e` writes: one file with every picture and its record, filters and plots.
Here it shows a small edition of photographs from inside packages, built with these pages. [Open it on a page of its
own](view.html).

<iframe src="view.html" title="The page of a small edition"></iframe>
"""


def main() -> None:
    """Copy the pages, make the demo unless it is there, and run MkDocs in strict mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "site")
    to = parser.parse_args().to
    if not MKDOCS.exists():
        sys.exit("MkDocs isn't installed: make docs installs it into .cache/docs")
    copy_pages()
    make_demo()
    (PAGES / "site.css").write_text(STYLE)
    config = WORK / "mkdocs.yml"
    # a file that only adds the navigation and the places, so that the theme's settings stand in one file
    config.write_text(
        f"INHERIT: {json.dumps(str(ROOT / 'mkdocs.yml'))}\ndocs_dir: {json.dumps(str(PAGES))}\n"
        f"site_dir: {json.dumps(str(to.absolute()))}\nnav: {json.dumps(navigation())}\n"
    )
    command = [MKDOCS, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", config]
    subprocess.run(command, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    print(f"{to}/index.html")


def copy_pages() -> None:
    """Copy all pages, and the files that they link to; links to folders lead to the page in them, if there is one."""
    shutil.rmtree(PAGES, ignore_errors=True)
    left = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    copied: set[Path] = set()
    while left:
        file = left.pop()
        if file in copied:
            continue
        copied.add(file)
        target = PAGES / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".md":
            shutil.copy(file, target)
            continue
        text = re.sub(r"<!--.*?-->\n?", "", file.read_text(encoding="utf-8"))
        linked = {link for _, link, _ in LINK.findall(text) if not re.match("[a-z]+:|#", link)}
        for path in {(file.parent / link.partition("#")[0]).resolve() for link in linked}:
            left += [path] if path.is_file() and path.is_relative_to(ROOT) else []
        target.write_text((WIDE if file.name == "README.md" else "") + lists_apart(text), encoding="utf-8")


def lists_apart(text: str) -> str:
    """A text with an empty line before each list that follows a paragraph, which MkDocs needs and others don't."""
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        item = re.match(r"(- |\d+\. )", line)
        if not fenced and item and before and not re.match(r"(- |\d+\. |\s)", before):
            lines.append("")
        fenced ^= line.startswith("```")
        lines.append(line)
    return "\n".join(lines)


def make_demo() -> None:
    """The page of a small edition, made once and kept until the cache is cleaned."""
    page = WORK / "view.html"
    if not page.exists():
        import variorum as va

        edition = va.run("imagenet_e", store=str(WORK / "store"), limit=6, progress=False)
        va.view(edition, to=page)
    (PAGES / "demo").mkdir(exist_ok=True)
    shutil.copy(page, PAGES / "demo" / "view.html")
    (PAGES / "demo" / "index.md").write_text(DEMO)


def navigation() -> list[object]:
    """The navigation: the README, the demo, and the sections of docs/index.md with their links."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[object] = [{"Variorum": "README.md"}, {"Demo": "demo/index.md"}]
    sections: list[object] = ["docs/index.md"]
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        links = re.findall(r"\[([^\]]+)\]\(([^)]+\.md)\)", text)
        pages = [{name: str((ROOT / "docs" / link).resolve().relative_to(ROOT))} for name, link in links]
        sections.append({title: pages})
    return [*found, {"Documentation": sections}]


if __name__ == "__main__":
    main()
