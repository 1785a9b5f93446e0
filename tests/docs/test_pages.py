"""What the documentation names exists: pages, links, commands and their options, keys, names of the
API, files, tests and entries of the log.
"""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

import evoprompt
from evoprompt.cli import app
from evoprompt.jobs.document import SCHEMAS, configuration_page, keys_of
from evoprompt.variation.catalog import OPERATORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
#: Without the one that is made of the schemas, which is held to them.
PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.glob("*.md")) if p.stem != "configuration")]
KEYS = {name: key for job in SCHEMAS for name, key in keys_of(job).items()}
SECTIONS = "|".join(sorted({name for name in KEYS if "." not in name}))
FOLDERS = "configs|docs|evoprompt|experiments|notebooks|tests"
EDITS = {operator.name for operator, _ in OPERATORS}


@cache
def commands() -> Mapping[str, set[str]]:
    """The options of every command, those of a group's commands by `group command`."""
    found = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for group, known in list(found.items()):
        below = getattr(known, "commands", {})
        found |= {f"{group} {name}": command for name, command in below.items()}
    return {n: {"--help", *(o for p in c.params for o in p.opts)} for n, c in found.items()}


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Each block of code with its language, then each span of code with none."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
    for found in fence.finditer(text):
        yield found[1] or "bash", found[2]
    for span in re.findall(r"`([^`]+)`", fence.sub("", text)):
        yield "", " ".join(span.split())


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as MkDocs and GitHub make them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", t.lower()).strip()) for t in titles}


def broken_links(page: Path, text: str) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        place, _, fragment = target.partition("#")
        file = page.parent / place if place else page
        if not file.exists():
            yield f"the link {target} leads nowhere"
        elif page.parent == DOCS and DOCS not in file.resolve().parents:
            yield f"the link {target} leads out of the site"
        elif fragment and fragment not in anchors(file):
            yield f"the link {target} names no heading"


def unknown_commands(text: str) -> Iterator[str]:
    for language, code in blocks(text):
        if language not in ("", "bash"):
            continue
        for name, rest in re.findall(r"(?:^|[ /])evoprompt ([a-z]\w*)([^\n|]*)", code, re.M):
            below = f"{name} {rest.split()[0]}" if rest.split() else name
            name = below if below in commands() else name
            if name not in commands():
                yield f"there is no command evoprompt {name}"
                continue
            given = set(re.findall(r"(?<!\S)--[\w-]+", rest))
            yield from (f"evoprompt {name} has no {o}" for o in sorted(given - commands()[name]))


def is_known(name: str) -> bool:
    """Whether a dotted key is in a schema, or inside one that takes any mapping."""
    parts = name.split(".")
    above = [KEYS.get(".".join(parts[:n])) for n in range(1, len(parts))]
    takes_any = [k for k in above if k and not k.is_section and "a mapping" in k.kind]
    return name in KEYS or bool(takes_any)


def dotted(values: object, before: str = "") -> Iterator[str]:
    """Every key of a configuration, down to where a key takes any mapping."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield f"{before}{name}"
            yield from dotted(value, f"{before}{name}.")


def unknown_keys(text: str) -> Iterator[str]:
    key = re.compile(rf"(?<![\w./{{'\"-])((?:{SECTIONS})(?:\.[a-z_0-9]+)+)(?!\w*[/(])")
    for language, code in blocks(text):
        names = key.findall(code) if language in ("", "bash") else []
        if language == "yaml":
            names = list(dotted(yaml.safe_load(code)))
        unknown = (
            n for n in names if not is_known(n) and not n.endswith((".py", ".json", ".jsonl"))
        )
        yield from (f"there is no key {name}" for name in unknown)


def unknown_names(text: str) -> Iterator[str]:
    """Names of the API, modules, operators, files, tests and entries of the log."""
    for language, code in blocks(text):
        included = re.fullmatch(r'--8<-- "([^"]+)"\n', code)
        if included and not (DOCS / included[1]).exists():
            yield f"there is no example {included[1]}"
        if language == "python" and not included:
            ast.parse(code.replace("--8<--", "--8"))
            yield from (f"this includes nothing: {n}" for n in re.findall(r".*--8.*", code))
            for name in re.findall(r"\bep\.(\w+)", code):
                if not hasattr(evoprompt, name):
                    yield f"evoprompt has no {name}"
        if re.fullmatch(r"evoprompt(\.\w+)+", code) and not language:
            try:
                pkgutil.resolve_name(code)
            except (ImportError, AttributeError):
                yield f"there is no {code}"
        if re.fullmatch(r"(demonstration|instruction)_[a-z_]+", code) and code not in EDITS | {
            "demonstration_pool",
            "demonstration_inputs",
            "demonstration_diversity",
        }:
            yield f"there is no operator {code}"
        if language in ("", "bash"):
            for path, test in re.findall(rf"(?<!\S)((?:{FOLDERS})/[\w./-]+)(?:::(\w+))?", code):
                file = ROOT / path
                if not file.exists():
                    yield f"there is no file {path}"
                elif test and f"def {test}(" not in file.read_text("utf-8"):
                    yield f"{path} has no {test}"
    titles = re.findall(r"^## (.+)$", (ROOT / "experiments" / "LOG.md").read_text("utf-8"), re.M)
    for entry in re.findall(r'LOG\.md`,\s+"([^"]+)"', text):
        if not any(" ".join(entry.split()) in title for title in titles):
            yield f"the log has no entry {entry}"


def mistakes(page: Path, text: str) -> list[str]:
    """All that a page names and that is not there."""
    found = [*broken_links(page, text), *unknown_commands(text)]
    return [*found, *unknown_keys(text), *unknown_names(text)]


def nav_files(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from nav_files(value)


def test_the_site_has_every_page_and_no_other():
    assert sorted(nav_files(SITE["nav"])) == sorted(p.name for p in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_names_exists(page: Path):
    assert mistakes(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](no.md)", "the link no.md leads nowhere"),
        ("[a](../README.md)", "the link ../README.md leads out of the site"),
        ("[a](task.md#no-such)", "the link task.md#no-such names no heading"),
        ("`evoprompt\nevolve x`", "there is no command evoprompt evolve"),
        ("```bash\n.venv/bin/evoprompt run a --fast\n```", "evoprompt run has no --fast"),
        ("`evolution.race`", "there is no key evolution.race"),
        ("`evoprompt run a --set loop.round=3`", "there is no key loop.round"),
        ("```yaml\ntask: {names: inbox}\n```", "there is no key task.names"),
        ("```python\nep.train()\n```", "evoprompt has no train"),
        ("`evoprompt.testing.check`", "there is no evoprompt.testing.check"),
        ("`demonstration_shuffle`", "there is no operator demonstration_shuffle"),
        ("`configs/none.yaml`", "there is no file configs/none.yaml"),
        ("`tests/docs/test_pages.py::test_x`", "tests/docs/test_pages.py has no test_x"),
        ('```python\n--8<-- "examples/no.py"\n```', "there is no example examples/no.py"),
        ('```python\n--8 < --"a.py"\n```', 'this includes nothing: --8 < --"a.py"'),
        ('`experiments/LOG.md`, "a dream"', "the log has no entry a dream"),
    ],
)
def test_what_is_not_there_is_found(text: str, said: str):
    assert mistakes(DOCS / "index.md", text) == [said]


def test_the_page_of_the_configuration_is_that_of_the_schemas():
    fresh = "make it anew: python -m evoprompt.jobs.document"
    assert (DOCS / "configuration.md").read_text("utf-8") == configuration_page(), fresh
