"""`frostline delta save | apply | show | diff`: output, exit codes, what they say where they cannot run."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from keras import optimizers

import frostline as fl
from helpers.checks import frostline_fit, values
from helpers.command_line import Runner, folder_beside
from helpers.small_models import compiled, two_dense

pytestmark = pytest.mark.eager

BACKEND = keras.backend.backend()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deltas")
    two_dense().save(folder / "base.keras")
    model = compiled(two_dense(), optimizers.Adam(0.05))
    frostline_fit(model, fl.Plan().train("b/**"))
    model.save(folder / "tuned.keras")
    low = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(low, "a/kernel", fl.LowRank(1, seed=2))
    frostline_fit(low, fl.Plan().train("a/kernel"))
    fl.save_model(low, folder / "low.keras")
    return folder


folder = pytest.fixture(autouse=True)(folder_beside)


def saved(run: Runner, tuned: str = "tuned", out: str = "tuned.safetensors") -> None:
    done = run("delta", "save", "base.keras", f"{tuned}.keras", "-o", out)
    assert done.code == 0, done.err


def same_weights(one: str, two: str) -> bool:
    first, second = (values(keras.models.load_model(path)) for path in (one, two))
    return all(first[a].tobytes() == second[a].tobytes() for a in first)


def test_from_two_models_and_back(run: Runner) -> None:
    done = run("delta", "save", "base.keras", "tuned.keras", "-o", "tuned.safetensors")
    assert done.code == 0
    assert done.lines[0] == "Delta of two_dense: 2 weights, 8 numbers, 32 B (35% of the model)"
    assert re.fullmatch(r"base [0-9a-f]{16}, written by Frostline \S+", done.lines[1])
    assert [line.split() for line in done.lines[2:]] == [
        ["weight", "shape", "what", "numbers", "size"],
        ["b/kernel", "3", "x", "2", "all", "of", "it", "6", "24", "B"],
        ["b/bias", "2", "all", "of", "it", "2", "8", "B"],
    ]
    assert re.fullmatch(r"written: tuned.safetensors \(1\.\d kB\)\n", done.err)
    done = run("delta", "apply", "base.keras", "tuned.safetensors", "--out", "again.keras")
    assert (done.code, done.lines[0].split(":")[0]) == (0, "Delta of two_dense")
    assert same_weights("again.keras", "tuned.keras")


def test_the_factors_of_a_saved_model_are_kept(run: Runner) -> None:
    saved(run, "low", "low.safetensors")
    shown = run("delta", "show", "low.safetensors", "--json").data
    entry = shown["entries"]["a/kernel"]
    assert (entry["kind"], entry["what"], entry["values"]) == ("parts", "rank 1", ["lora_a", "lora_b"])
    run("delta", "apply", "base.keras", "low.safetensors", "-o", "again.keras")
    assert same_weights("again.keras", "low.keras")


def test_show_checks_the_file_and_tells_the_plan(run: Runner) -> None:
    model = two_dense()
    trained = frostline_fit(compiled(model), fl.Plan().train("b/bias"))
    fl.save_delta(model, "bias.safetensors", base=trained)
    done = run("delta", "show", "bias.safetensors")
    assert done.code == 0
    at = done.lines.index("the plan, as the delta says (it is not held against what the delta changes):")
    assert [line.split()[0] for line in done.lines[2:at]] == ["weight", "b/bias"]
    plan = yaml.safe_load("\n".join(done.lines[at + 1 :]))
    assert fl.Plan.from_data(plan) == fl.Plan().train("b/bias")
    data = run("delta", "show", "bias.safetensors", "--json").data
    assert (data["frostline_delta"], data["plan"]) == (1, plan)


def test_diff_ends_with_1_where_deltas_differ(run: Runner) -> None:
    for name in ("tuned", "low"):
        saved(run, name, f"{name}.safetensors")
    model = keras.models.load_model("tuned.keras")
    model.get_layer("b").bias.assign(model.get_layer("b").bias.numpy() + np.float32(0.5))
    model.save("other.keras")
    saved(run, "other", "other.safetensors")
    assert run("delta", "diff", "tuned.safetensors", "tuned.safetensors").code == 0
    done = run("delta", "diff", "tuned.safetensors", "other.safetensors")
    assert done.code == 1
    assert [line.split() for line in done.lines[1:]] == [
        ["b/kernel", "same"],
        ["b/bias", "changed", "0.5"],
        [],
        ["1", "weight", "of", "2", "differ;", "the", "same", "base"],
    ]
    data = run("delta", "diff", "tuned.safetensors", "low.safetensors", "--json").data
    assert data["weights"] == {"b/kernel": "only in A", "b/bias": "only in A", "a/kernel": "only in B"}
    assert (data["same"], data["same_base"]) == (False, True)


def test_json_of_writing(run: Runner) -> None:
    data = run("delta", "save", "base.keras", "tuned.keras", "-o", "t.safetensors", "--json").data
    assert data == {
        "frostline_delta": 1,
        "out": "t.safetensors",
        "bytes": Path("t.safetensors").stat().st_size,
        "weights": 2,
        "numbers": 8,
    }


def further() -> None:
    """A delta that was trained on top of `tuned.safetensors`, and one that was not."""
    model = keras.models.load_model("base.keras")
    before = fl.fingerprint(model)
    model.get_layer("a").bias.assign([1.0, 2.0, 3.0])
    fl.save_delta(model, "bias.safetensors", base=before)
    model = keras.models.load_model("base.keras")
    fl.load_delta(model, "tuned.safetensors")
    before = fl.fingerprint(model)
    for variable in (model.get_layer("a").kernel, model.get_layer("b").bias):
        variable.assign(variable.numpy() * 2 + 1)
    fl.save_delta(model, "further.safetensors", base=before)
    model.get_layer("a").bias.assign([1.0, 2.0, 3.0])
    model.save("all.keras")


def test_several_are_applied_in_order(run: Runner) -> None:
    saved(run)
    further()
    three = ("tuned.safetensors", "bias.safetensors", "further.safetensors")
    done = run("delta", "apply", "base.keras", *three, "-o", "again.keras")
    assert done.code == 0, done.err
    assert [line for line in done.lines if line.startswith("Delta of")] == [
        "Delta of two_dense: 2 weights, 8 numbers, 32 B (35% of the model)",
        "Delta of two_dense: 1 weight, 3 numbers, 12 B (13% of the model)",
        "Delta of two_dense: 2 weights, 14 numbers, 56 B (61% of the model)",
    ]
    assert same_weights("again.keras", "all.keras")
    told = run("delta", "apply", "base.keras", *three, "-o", "json.keras", "--json").data
    size = Path("json.keras").stat().st_size
    assert told == {"frostline_delta": 1, "out": "json.keras", "bytes": size, "weights": 4, "numbers": 25}


def test_where_one_of_several_does_not_fit_nothing_is_written(run: Runner) -> None:
    saved(run)
    further()
    out = ("-o", "out.keras")
    lines = run.fails("delta", "apply", "base.keras", "further.safetensors", "tuned.safetensors", *out)
    assert lines.splitlines()[:2] == [
        "the delta 'further.safetensors' was made for another base than the model 'two_dense'.",
        "  received: these have other values than its base: b/kernel",
    ]
    saved(run, out="same.safetensors")
    said = run.fails("delta", "apply", "base.keras", "tuned.safetensors", "same.safetensors", *out)
    assert said.startswith("the delta 'tuned.safetensors', already loaded, changes the same")
    said = run.fails("delta", "apply", "base.keras", "tuned.safetensors", "tuned.safetensors", *out)
    assert said.startswith("a delta 'tuned.safetensors' is on the model already.\n")
    said = run.fails("delta", "apply", "base.keras", "tuned.safetensors", "furter.safetensors", *out)
    assert said.startswith("there is no delta 'furter.safetensors'.\n")
    assert not Path("out.keras").exists()


def test_nothing_is_overwritten_unasked(run: Runner) -> None:
    saved(run)
    said = "exists already.\n  fix:      name another file with --out, or add --force"
    words = ("delta", "save", "base.keras", "tuned.keras", "-o", "tuned.safetensors")
    assert run.fails(*words) == f"'tuned.safetensors' {said}"
    assert run(*words, "--force").code == 0
    apply = ("delta", "apply", "base.keras", "tuned.safetensors", "-o", "tuned.keras")
    assert run.fails(*apply) == f"'tuned.keras' {said}"


def test_another_base_is_refused(run: Runner) -> None:
    saved(run)
    model = keras.models.load_model("base.keras")
    model.get_layer("a").bias.assign([1.0, 1.0, 1.0])
    model.save("moved.keras")
    words = ("delta", "apply", "moved.keras", "tuned.safetensors", "-o", "out.keras")
    lines = run.fails(*words).splitlines()
    assert lines[0] == ("the delta 'tuned.safetensors' was made for another base than the model 'two_dense'.")
    assert lines[1] == "  received: these have other values than its base: a/bias"
    assert run(*words, "--another-base").code == 0
    assert Path("out.keras").exists()


def test_what_cannot_be_read(run: Runner) -> None:
    saved(run)
    raw = Path("tuned.safetensors").read_bytes()
    Path("torn.safetensors").write_bytes(raw[:-5])
    assert run.fails("delta", "show", "torn.safetensors").startswith(
        "the delta 'torn.safetensors' is damaged, or was altered after it was written.\n"
    )
    assert run.fails("delta", "diff", "tuned.safetensors", "tund.safetensors") == (
        "there is no delta 'tund.safetensors'.\n"
        "  fix:      the folder '.' has tuned.safetensors, torn.safetensors"
    )
    assert run.fails("delta", "save", "base.keras", "tund.keras", "-o", "x.safetensors").startswith(
        "there is no model 'tund.keras'"
    )
    assert "not a .keras file" in run.fails("delta", "save", "base.keras", "torn.safetensors", "-o", "x")
