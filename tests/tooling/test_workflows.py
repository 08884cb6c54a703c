"""The workflows name what is there, and the steps of a release do what they say; actionlint reads them where it is."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import VERSION

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github/workflows"
DIGEST = "sha256:" + "5" * 64


def jobs(name: str) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow, by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / name).read_text())["jobs"]
    return found


def step(job: dict[str, Any], name: str) -> str:
    """What a step runs."""
    [found] = [each["run"] for each in job["steps"] if name in each.get("name", "")]
    return str(found)


def run(script: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it as a runner does."""
    bash = shutil.which("bash")
    assert bash is not None
    environ = {"PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(folder / "output"), **environ}
    command = [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A folder with what the steps read, as it is on the day of a release."""
    (tmp_path / "common").mkdir()
    for name in ("common/__init__.py", "Dockerfile", "Makefile"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    changes = (ROOT / "CHANGELOG.md").read_text().replace(f"## {VERSION} - unreleased", f"## {VERSION} - 2026-12-24")
    (tmp_path / "CHANGELOG.md").write_text(f"{changes}\n## 0.0.1 - 2020-01-01\n\n- Older.\n")
    return tmp_path


def test_actionlint_finds_nothing() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip(
            "there is no actionlint on the path (go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12)"
        )

    answer = subprocess.run([actionlint], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (answer.returncode, answer.stdout) == (0, "")


def test_make_has_every_target_that_a_step_asks_for() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [
        each.get("run", "")
        for name in ("ci.yml", "release.yml")
        for job in jobs(name).values()
        for each in job.get("steps", ())
    ]

    asked = {target for script in steps for target in re.findall(r"^\s*make ([a-z0-9-]+)", script, re.MULTILINE)}

    assert asked
    assert asked <= targets


def test_an_image_is_made_of_every_program() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    programs = set(jobs("release.yml")["images"]["strategy"]["matrix"]["program"])

    assert programs == {"graphinator", "tableinator", "extractor", "spindle"}
    assert programs <= targets


def test_a_tag_of_another_version_is_refused_before_anything_is_pushed(released: Path) -> None:
    script = step(jobs("release.yml")["ready"], "compare the tag")

    refused = run(script, released, GITHUB_REF_NAME="v9.9.9", REGISTRY="example.org/spindle")
    taken = run(script, released, GITHUB_REF_NAME=f"v{VERSION}", REGISTRY="example.org/spindle")

    assert refused.returncode == 1
    assert refused.stderr == "common/__init__.py has another version than 9.9.9\n"
    assert (taken.returncode, taken.stderr) == (0, "")
    assert (released / "output").read_text() == f"version={VERSION}\n"


def test_a_version_without_notes_and_a_repository_without_a_registry_are_refused(released: Path) -> None:
    script = step(jobs("release.yml")["ready"], "compare the tag")
    tag = f"v{VERSION}"

    nowhere = run(script, released, GITHUB_REF_NAME=tag)
    shutil.copyfile(ROOT / "CHANGELOG.md", released / "CHANGELOG.md")
    unreleased = run(script, released, GITHUB_REF_NAME=tag, REGISTRY="example.org/spindle")

    assert (nowhere.returncode, nowhere.stderr) == (1, "the repository's variable REGISTRY is not set\n")
    assert (unreleased.returncode, unreleased.stderr) == (1, f'CHANGELOG.md has no section "## {VERSION} - DATE"\n')


def test_the_notes_are_the_versions_own(released: Path) -> None:
    script = step(jobs("release.yml")["chart"], "publish the notes").replace("gh release create", "echo")

    done = run(script, released, VERSION=VERSION, GITHUB_REF_NAME=f"v{VERSION}")

    notes = (released / "notes.md").read_text()
    assert done.returncode == 0
    assert notes.startswith(f"## {VERSION} - 2026-12-24\n")
    assert "Older" not in notes
    assert len(notes.splitlines()) > 10


@pytest.mark.parametrize("before", ["", f"@sha256:{'1' * 64}"], ids=["by tag", "by an older digest"])
def test_the_base_image_is_named_by_its_digest_of_today(released: Path, before: str) -> None:
    dockerfile = released / "Dockerfile"
    dockerfile.write_text(
        dockerfile.read_text().replace("PYTHON_IMAGE=python:3.13-slim", f"PYTHON_IMAGE=python:3.13-slim{before}")
    )
    docker = released / "docker"
    docker.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "buildx imagetools inspect python:3.13-slim --format {{.Manifest.Digest}}" ] || exit 1\n'
        f"echo {DIGEST}\n"
    )
    docker.chmod(0o755)
    script = step(jobs("release.yml")["ready"], "base image")

    done = run(script, released, PATH=f"{released}:{os.environ['PATH']}")

    named = f"python:3.13-slim@{DIGEST}"
    assert (done.returncode, done.stdout) == (0, f"{named}\n"), done.stderr
    assert (released / "output").read_text() == f"python={named}\n"
    assert dockerfile.read_text().count(f"ARG PYTHON_IMAGE={named}\n") == 1


def test_without_a_digest_the_dockerfile_stays_as_it_is(released: Path) -> None:
    docker = released / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)

    done = run(step(jobs("release.yml")["ready"], "base image"), released, PATH=f"{released}:{os.environ['PATH']}")

    assert done.returncode != 0
    assert "no registry tells the digest of python:3.13-slim" in done.stderr
    assert (released / "Dockerfile").read_bytes() == (ROOT / "Dockerfile").read_bytes()
