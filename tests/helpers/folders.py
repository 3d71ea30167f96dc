"""Where the project's folders are, whatever folder a test stands in."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
TESTS = PROJECT / "tests"
HELPERS = TESTS / "helpers"
CASES = TESTS / "cases"
SAVED = TESTS / "saved"
DOCS = PROJECT / "docs"
SCHEMAS = DOCS / "schemas"
EXAMPLES = PROJECT / "examples"
