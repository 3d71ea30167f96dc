"""What is published: the version, the links, the command, and what the wheel is made of."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from frostline import __version__
from helpers.folders import PROJECT

SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = "https://github.com/frostline-dev/frostline/"


def test_pip_takes_the_version_unasked() -> None:
    """A pre-release it would leave out; the number stands in one place."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert SETTINGS["project"]["dynamic"] == ["version"]
    assert SETTINGS["tool"]["hatch"]["version"]["path"] == "src/frostline/_version.py"
    assert (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").split("## ")[1].startswith(__version__)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "frostline"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"frostline {__version__}\n"
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert helped.stdout.split()[:2] == ["Usage:", "frostline"]
    wrong = subprocess.run([*command, "verfiy"], capture_output=True, text=True)
    assert wrong.returncode == 2


def test_links_in_the_readme_hold_on_other_pages() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (PROJECT / "README.md").read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert link.startswith("https://"), link
        if link.startswith(PAGES):
            path = re.sub(r"^(?:blob|tree)/main/", "", link.removeprefix(PAGES))
            assert (PROJECT / path.partition("#")[0]).exists(), link


def test_what_the_wheel_takes_from_elsewhere_is_there() -> None:
    """`tests/helpers/wheel_smoke.py` looks for it in an installed wheel."""
    forced = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert forced == {"docs/schemas": "frostline/schemas"}
    assert {path.name for path in (PROJECT / "docs" / "schemas").iterdir()} == {"plan.json", "run.json"}


def test_the_project_page_leads_to_everything() -> None:
    urls = SETTINGS["project"]["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert all(url.startswith(PAGES.rstrip("/")) for url in urls.values())
