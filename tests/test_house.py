"""The rules of docs/design.md that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "bids_sexclf").rglob("*.py"))


def test_imports_point_down_the_page():
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed")
    ended = subprocess.run(
        [program, "--config", "setup.cfg", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_below_the_command_line_prints_or_exits(path):
    if path.name in ("cli.py", "verdict.py"):
        pytest.skip("it is a command")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "sys.exit", "exit"), node.lineno
        assert not isinstance(node, ast.Assert), node.lineno


def imported(path):
    """Yield the modules and names that a file imports: dotted name of the module, name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bids_sexclf"):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_private_stays_in_its_room(path):
    room = path.relative_to(ROOT).with_suffix("").parts[1]
    for module, name in imported(path):
        parts = f"{module}.{name}".split(".")
        private = any(part[0] == "_" and part[:2] != "__" for part in parts)
        assert not private or room in (parts[1], "__init__"), f"{module}: {name}"


def test_no_file_imports_itself_by_way_of_others():
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    reads = {}
    for name, path in names.items():
        found = ((f"{module}.{entry}", module) for module, entry in imported(path))
        reads[name] = {pair[0] if pair[0] in names else pair[1] for pair in found} - {name}
    while leaves := [name for name, used in reads.items() if not used & set(reads)]:
        for name in leaves:
            del reads[name]
    assert not reads


def test_top_level_holds_what_it_should_and_nothing_else():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    if not listed:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.splitlines() if not line.startswith(".")}
    assert top == {
        "benchmarks", "bids_sexclf", "tests", "docs", "Dockerfile", "singularity.def", "setup.cfg",
        "pyproject.toml", "README.md", "Makefile", "CHANGES.md", "LICENSE", "CITATION.cff",
        "ruff.toml", "CONTRIBUTING.md", "examples", "mkdocs.yml",
    }  # fmt: skip


def test_every_package_has_a_page_of_the_reference():
    packages = {path.parent.name for path in (ROOT / "bids_sexclf").glob("*/__init__.py")}
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")}
    assert pages - {"index", "modules"} == packages
    listed = (ROOT / "mkdocs.yml").read_text() + (ROOT / "docs" / "api" / "index.md").read_text()
    assert [name for name in packages if listed.count(f"{name}.md") < 2] == []


VAGUE = {
    "told", "found", "given", "held", "own", "some", "other", "others", "which", "what", "there",
    "whose", "these",
}  # fmt: skip
"""Pronoun-like names, which do not say what a variable holds."""


def local_names(tree):
    """Yield the names of the parameters and variables of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_local_names_say_what_they_hold():
    names = [name for path in FILES for name in local_names(ast.parse(path.read_text()))]
    assert sum(name in VAGUE for name in names) <= 0.01 * len(names)
