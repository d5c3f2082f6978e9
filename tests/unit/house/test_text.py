"""The project's texts: links lead somewhere, and nothing of one machine or one day has stayed in them."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each pattern has brackets that keep it from matching itself.
OUT_OF_PLACE = {
    r"(?<![\w.}])/(wor[k]|far[m])/": "a path of one machine",
    r"(?<![\w.}])/tmp/(v/[a-z]/|brie[f])": "a path of one machine",
    r"https?://[^\s/]*(artifactor[y]|nexu[s]|devp[i]|regist[r]y)": "the address of a package registry",
    r"(?i)\bissue\s+#?\d|(?<![&\w/])#[0-9]{1,3}\b(?![0-9a-fA-F;])": "the number of an issue",
    r"\b(TOD[O]|FIXM[E]|XX[X])\b": "unfinished work",
    r"(?i)\b(sub-?agen[t]s?|(the|my) brie[f]|working contrac[t]|chatb[o]ts?)\b": "a word about how it was made",
    r"(?i)\b(way[ ]bac[k]|drop[ ]folde[r]|tries[ ]password[s]|wishe[s])\b": "a word of our own for what has a name",
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^( *)(```|~~~).*?^\1\2\s*$", re.MULTILINE | re.DOTALL)


def text(path: Path) -> str | None:
    """A file's text, or None where it isn't text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def out_of_place(content: str) -> Iterator[str]:
    """Say, a sentence each, which lines hold something that doesn't belong into the project."""
    for number, line in enumerate(content.splitlines(), start=1):
        for pattern, what in OUT_OF_PLACE.items():
            if found := re.search(pattern, line):
                yield f"line {number} holds {what}: {found[0]!r}."


def test_nothing_is_out_of_place(root: Path, project_files: list[Path]) -> None:
    found = [
        f"{path}, {sentence}"
        for path in project_files
        if path.name != "LICENSE" and path.suffix != ".log"  # a log's words are another program's
        for sentence in out_of_place(text(root / path) or "")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "cd /wor" + "k/main",
        "see issu" + "e 12",
        "# TOD" + "O later",
        "https://regist" + "ry.example/simple",
        "(#" + "17)",
        "arm the way " + "back",
    ],
)
def test_what_is_out_of_place_is_found(line: str) -> None:
    assert list(out_of_place(line))


@pytest.mark.parametrize(
    "line", ["/var/lib/work/x", "the user agent", "color: #123456", "an open TLS session", "&#10;"]
)
def test_what_is_in_its_place_is_left_alone(line: str) -> None:
    assert not list(out_of_place(line))


def anchors(content: str) -> set[str]:
    """The anchors of a page's headings, as the usual Markdown viewers make them."""
    slugs: set[str] = set()
    for heading in HEADING.findall(CODE_BLOCK.sub("", content)):
        plain = unicodedata.normalize("NFC", re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        repeated = sum(1 for other in slugs if re.fullmatch(re.escape(slug) + r"(-\d+)?", other))
        slugs.add(f"{slug}-{repeated}" if repeated else slug)
    return slugs


def broken_links(page: Path, root: Path) -> Iterator[str]:
    """Say, a sentence each, which links of a page lead nowhere within the project."""
    content = CODE_BLOCK.sub("", page.read_text())
    for target in LINK.findall(content):
        if re.match(r"[a-z]+:", target):
            continue  # another site
        name, anchor = [*target.split("#", maxsplit=1), ""][:2]
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or not file.is_relative_to(root):
            yield f"the link {target} leads nowhere."
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            yield f"the link {target} leads to no heading of {file.name}."


def test_links_lead_somewhere(root: Path, project_files: list[Path]) -> None:
    pages = [path for path in project_files if path.suffix == ".md"]
    found = [f"{page}: {sentence}" for page in pages for sentence in broken_links(root / page, root)]
    assert pages
    assert not found, "\n".join(found)


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](#one-two) [b](#three) [c](other.md) [d](https://example.com/x) [e](page.md#one-two)\n"
    )
    assert list(broken_links(page, tmp_path)) == [
        "the link #three leads to no heading of page.md.",
        "the link other.md leads nowhere.",
    ]
