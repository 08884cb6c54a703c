"""The table of faults in docs/reliability.md is whole, and every test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

NUMBERS = [
    *(str(number) for number in range(1, 28)),
    "27a",
    "27b",
    "27c",
    *(str(number) for number in range(28, 101)),
]
AGAINST = {"servers", "pure", "both", "-"}

_NAMED = re.compile(r"`([\w/]+)::(\w+)`")
_MARKED = re.compile(r"\bFaults? ((?:\d+[abc]?(?:, | and )?)+)")


def table() -> list[list[str]]:
    """The rows: number, what goes wrong, against what it is tested, the tests or the reason."""
    section = (ROOT / "docs" / "reliability.md").read_text().partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def named(row: list[str]) -> list[tuple[str, str]]:
    """The tests of a row: file and name."""
    return [(file, name) for file, name in _NAMED.findall(row[3])]


def defined(file: str) -> dict[str, str]:
    """What a file of tests defines, each with its docstring."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse((TESTS / f"{file}.py").read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ""
    return found


def test_every_fault_stands_in_the_table_once() -> None:
    assert [row[0] for row in table()] == NUMBERS


def test_every_fault_has_tests_or_a_reason() -> None:
    for number, claim, against, tests in table():
        assert claim, number
        assert against in AGAINST, number
        assert bool(_NAMED.search(tests)) is (against != "-"), number
        assert tests, number


def test_every_test_that_is_named_exists() -> None:
    files = {file: defined(file) for row in table() for file, _ in named(row)}

    assert [f"{file}::{name}" for row in table() for file, name in named(row) if name not in files[file]] == []


def test_what_a_test_says_of_its_faults_is_what_the_table_says() -> None:
    rows = {row[0]: set(named(row)) for row in table()}
    files = [path.relative_to(TESTS).with_suffix("").as_posix() for path in TESTS.rglob("*.py")]
    marked = {
        (file, name, number)
        for file in files
        for name, text in defined(file).items()
        if name.startswith("test_")
        for numbers in _MARKED.findall(text)
        for number in re.findall(r"\d+[abc]?", numbers)
    }

    assert {each for each in marked if each[:2] not in rows[each[2]]} == set()
    assert len({number for *_, number in marked}) > len(NUMBERS) / 2
