"""Data with a digest of itself."""

from __future__ import annotations

import json

import pytest
from blake3 import blake3

from frostline.files.sealed import BrokenSealError, sealed, unsealed

DATA = {"numbers": [1, 0.1], "name": "Grüße", "none": None}


def test_the_digest_is_of_sorted_json_without_spaces() -> None:
    text = '{"name":"Gr\\u00fc\\u00dfe","none":null,"numbers":[1,0.1]}'
    assert sealed(DATA) == {**DATA, "blake3": blake3(text.encode()).hexdigest()}


def test_data_comes_back_from_a_file() -> None:
    data = {**DATA, "epochs": {10: (1, 2), 9: (3,)}}
    read = unsealed(json.loads(json.dumps(sealed(data), indent=1)))
    assert read == {**DATA, "epochs": {"10": [1, 2], "9": [3]}}


@pytest.mark.parametrize("change", [{"name": "other"}, {"blake3": "0"}, {"more": 1}])
def test_altered_data_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BrokenSealError) as caught:
        unsealed({**sealed(DATA), **change})
    rest = {key: value for key, value in (DATA | change).items() if key != "blake3"}
    assert caught.value.found == sealed(rest)["blake3"]
    assert caught.value.claimed == change.get("blake3", sealed(DATA)["blake3"])


@pytest.mark.parametrize("data", [DATA, [DATA], None])
def test_data_without_a_digest_are_refused(data: object) -> None:
    with pytest.raises(BrokenSealError, match=r"^its own digest does not fit$") as caught:
        unsealed(data)
    assert caught.value.claimed is None
