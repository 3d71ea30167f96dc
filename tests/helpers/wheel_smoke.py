"""Try what was installed from a wheel: `python wheel_smoke.py README.md`, anywhere but in the sources.

Runs the programs of README as they stand there, each in a process of its own with no backend chosen, and what
a wheel may have left out: the command, its own data, type information.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def main(readme: Path) -> None:
    """Run everything; the first thing that fails ends it."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    version = metadata.version("frostline")
    said = subprocess.run([sys.executable, "-m", "frostline", "--version"], capture_output=True, text=True)
    assert said.stdout.split() == ["frostline", version], said
    package = resources.files("frostline")
    for name in ("py.typed", "__init__.pyi", "schemas/plan.json", "schemas/run.json"):
        assert package.joinpath(name).is_file(), f"the wheel lacks {name}"
    programs = FENCED.findall(readme.read_text(encoding="utf-8"))
    assert programs, "README has no program"
    with tempfile.TemporaryDirectory() as home:
        environment["KERAS_HOME"] = home
        for program in programs:
            subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    sys.stdout.write(f"frostline {version}: {len(programs)} programs of README ran\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
