"""docs/commands.md says what every `--help` says, and a shell completes what the commands take."""

import shutil
import subprocess
from pathlib import Path

import pytest

from spindle.cli import main, whole_parser
from spindle.completion import SHELLS, script
from spindle.usage import page

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setenv("COLUMNS", "40")

    assert (ROOT / "docs/commands.md").read_text() == page()


def test_the_page_has_every_command_and_its_options() -> None:
    written = page()

    for command in ("spindle load", "spindle dead-letters edit", "extractor", "extractor fetch"):
        assert f"# {command}\n" in written
    assert "`--stack-env` [`NAME`]" in written
    assert "2 unreachable" in written, "exit codes are in the page"


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash on the path")
    typed = " ".join(f"'{word}'" for word in words)
    asked = (
        f"{script('bash')}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
        "$(complete -p spindle | sed 's/.*-F *\\([^ ]*\\).*/\\1/')\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    answer = subprocess.run([bash, "-c", asked], capture_output=True, text=True, timeout=30, check=True)
    return set(answer.stdout.split())


def test_bash_completes_commands_actions_and_options() -> None:
    assert completed("spindle", "do") == {"doctor"}
    assert {"replay", "export", "import"} <= completed("spindle", "dead-letters", "")
    assert "--stack-env" in completed("spindle", "load", "--st")
    assert completed("spindle", "doctor", "--login-of", "s") == {"services"}


def test_bash_completes_files_where_a_file_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letters.jsonl").touch()
    monkeypatch.chdir(tmp_path)

    assert completed("spindle", "dead-letters", "export", "--to", "let") == {"letters.jsonl"}


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0

    said = capsys.readouterr().out
    assert all(name in said for name in next(iter(whole_parser()._subparsers._group_actions)).choices)  # type: ignore[union-attr]
