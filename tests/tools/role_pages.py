"""Write each role's README.md from its argument specification: ``python tests/tools/role_pages.py``.

A test compares the pages with what this makes of the specifications, so that neither can change without the other.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
#: The page that says more, where it isn't the one that has the role's name.
GUIDES = {"haproxy": "gateway"}
#: What YAML puts behind a value that stands by itself.
END_OF_DOCUMENT = "\n...\n"
#: Ansible's markup, which a page of its own writes as code.
MARKUP = re.compile(r"\b[A-Z]\(([^()]*(?:\([^()]*\)[^()]*)*)\)")


def roles() -> list[str]:
    """The roles by name."""
    return sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))


def specification(role: str) -> dict[str, Any]:
    """What a role says of its main entry point."""
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    entry: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]
    return entry


def prose(description: Any) -> list[str]:
    """Paragraphs in Markdown."""
    paragraphs = description if isinstance(description, list) else [description]
    return [MARKUP.sub(r"`\1`", " ".join(str(text).split())) for text in paragraphs]


def cell(text: str) -> str:
    return text.replace("|", r"\|")


def value(data: Any) -> str:
    """The value in YAML, on one line."""
    if data == "":
        return "empty"
    text = yaml.safe_dump(data, default_flow_style=True, width=10000)
    return f"`{text.removesuffix(END_OF_DOCUMENT).strip()}`"


def table(options: dict[str, Any], column: str) -> list[str]:
    lines = [f"| {column} | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = f"list of {option['elements']}" if option.get("elements") else option["type"]
        if "choices" in option:
            kind = "one of " + ", ".join(value(choice) for choice in option["choices"])
        default = value(option["default"]) if "default" in option else ""
        if option.get("required"):
            default = "**required**"
        cells = [f"`{name}`", kind, default, " ".join(prose(option["description"]))]
        lines.append(f"| {' | '.join(map(cell, cells))} |")
    return [*lines, ""]


def sections(options: dict[str, Any], path: str = "") -> list[str]:
    """A table for each dictionary below these options."""
    lines = []
    for name, option in options.items():
        if below := option.get("options"):
            here = f"{path}{name}" + ("[]" if option.get("elements") else "")
            lines += [f"### `{here}`", "", *table(below, "Key"), *sections(below, f"{here}.")]
    return lines


def page(role: str) -> str:
    """The whole page of a role."""
    entry = specification(role)
    first, *rest = prose(entry["description"])
    guide = GUIDES.get(role, role)
    lines = [
        "<!-- Made from meta/argument_specs.yml by tests/tools/role_pages.py: change it there. -->",
        "",
        f"# Role postern.mail_gateway.{role}",
        "",
        f"{entry['short_description']}.",
        "",
        first,
        "",
    ]
    for paragraph in rest:
        lines += [paragraph, ""]
    lines += [
        "## Example",
        "",
        "```yaml",
        entry["examples"].rstrip(),
        "```",
        "",
        f"More in [docs/{guide}.md](../../docs/{guide}.md).",
        "",
        "## Variables",
        "",
        *table(entry["options"], "Variable"),
        *sections(entry["options"]),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    for each in roles():
        (ROOT / "roles" / each / "README.md").write_text(page(each))
