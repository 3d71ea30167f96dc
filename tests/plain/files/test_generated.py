"""What is written for others to edit is read again, and held against what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from frostline.errors import PlanFileError
from frostline.files.generated import require_means
from frostline.plan.file import PLAN

MEANT = {"frostline": 1, "rules": [{"train": "head/**"}]}


def test_a_text_that_says_what_is_meant() -> None:
    require_means("# a\nfrostline: 1\nrules:\n- train: head/**\n", MEANT, Path("plan.yaml"), PLAN)
    require_means('{"frostline": 1, "rules": [{"train": "head/**"}]}', MEANT, Path("plan.json"), PLAN)


REMEDY = "\n  fix:      rename what stands in it under a strange name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "frostline: 1\nrules:\n- train: head/**\nimport: [helper]\n",
            "'plan.yaml' is not written: it would say something else than is meant.\n"
            "  received: import: ['helper'] in place of None" + REMEDY,
        ),
        (
            "frostline: 1\nrules:\n- train: head/**\nrules: []\n",
            "'plan.yaml' is not written: it could not be read again.\n"
            "  received: plan.yaml, line 4: the key 'rules' stands twice.\n"
            "              received: first on line 2, again on line 4\n"
            "              fix:      keep one of them; several rules go into the list under 'rules:'"
            + REMEDY,
        ),
        (
            "- 1\n",
            "'plan.yaml' is not written: it would say something else than is meant.\n"
            "  received: [1] in place of {'frostline': 1, 'rules': [{'train': 'head/**'}]}" + REMEDY,
        ),
    ],
)
def test_a_text_that_does_not(text: str, message: str) -> None:
    with pytest.raises(PlanFileError) as caught:
        require_means(text, MEANT, Path("plan.yaml"), PLAN)
    assert str(caught.value) == message
