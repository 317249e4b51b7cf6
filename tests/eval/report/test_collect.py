from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from eval.artifacts import write_artifact
from eval.report.collect import collect
from eval.report.configs import commands
from eval.results import RESULTS, read_results, write_results
from ssl_equiv.errors import UserError
from tests.eval.report.made_up import artifacts, results, write_run, write_runs


def test_seeds_of_one_configuration_are_one_model(runs: Path) -> None:
    models, left_out = collect([runs])
    assert [model.name for model in models] == ["equimod", "sie", "vicreg"]
    assert [[run.seed for run in model.runs] for model in models] == [[0, 1]] * 3
    assert not left_out
    for model in models:
        assert all(run.rows and run.artifacts and run.curves for run in model.runs)
    named, _ = collect([runs / "vicreg-seed1", runs / "sie-seed0", runs])  # in the order given
    assert [model.name for model in named] == ["vicreg", "sie", "equimod"]
    assert [len(model.runs) for model in named] == [2, 2, 2]


def test_another_configuration_is_another_model(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / f"sie-seed{seed}", "SIE", seed) for seed in (0, 1))
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["model"]["init_args"]["optimizer"]["lr"] = 2e-3
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    models, _ = collect([first, second])
    assert [model.name for model in models] == ["sie-seed0", "sie-seed1"]


def test_two_judgements_of_one_seed_are_not_pooled(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sie", "SIE", 0)
    write_results(tmp_path / "again" / RESULTS, results("SIE", 0, str(run), ("ood",)))
    models, _ = collect([tmp_path])
    assert [len(model.runs) for model in models] == [1, 1]
    assert len({model.name for model in models}) == 2
    assert all(model.runs[0].config is not None for model in models)  # found by the model's path


@pytest.mark.parametrize("name", ["sie-seed{}", "sie_s{}", "sie/seed{}", "sie/{}"])
def test_outputs_of_eval_without_a_configuration_are_grouped_by_name(
    tmp_path: Path, name: str
) -> None:
    for seed in (0, 1):
        folder = tmp_path / name.format(seed)
        write_results(folder / RESULTS, results("SIE", seed, f"/gone/{name.format(seed)}"))
    models, _ = collect([tmp_path])
    assert [(model.name, len(model.runs)) for model in models] == (
        [("sie", 2)] if "{" in name and name != "sie/{}" else [("sie/0", 1), ("sie/1", 1)]
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("timm:resnet18", "timm:resnet18"),
        ("sie:/weights/published.pth", "sie:published.pth"),
        ("random:/gone/sie", "random init of sie"),
        ("random", "random"),
        ("/gone/export", "export"),
        ("", "out-of-it"),
    ],
)
def test_models_without_a_run_have_names(tmp_path: Path, model: str, name: str) -> None:
    write_results(tmp_path / "out-of-it" / RESULTS, results("VICReg", 0, model))
    assert [found.name for found in collect([tmp_path])[0]] == [name]


def test_one_name_in_folders_of_several_seeds(tmp_path: Path) -> None:
    """As ``benchmarks.mini`` leaves untrained networks."""
    for seed in (0, 1):
        rows = results("VICReg", seed, "random")
        write_results(tmp_path / f"random-{seed}" / "eval" / RESULTS, rows)
    assert [(m.name, len(m.runs)) for m in collect([tmp_path])[0]] == [("random", 2)]


@pytest.mark.parametrize("ending", ["-0 -1", "/0 /1", "-seed3 -seed4", "-a -b"])
def test_the_name_of_runs_of_one_configuration(tmp_path: Path, ending: str) -> None:
    for seed, end in enumerate(ending.split()):
        write_run(tmp_path / f"vicreg50{end}", "VICReg", seed, judged=False)
    (model,), _ = collect([tmp_path])
    assert model.name == ("vicreg50-a" if ending == "-a -b" else "vicreg50")


def test_several_models_in_one_file_and_copies(tmp_path: Path) -> None:
    """The demo's folder: a run, and a file with its rows and those of its random start."""
    run = write_run(tmp_path / "sie", "SIE", 0, judged=False)
    trained = results("SIE", 0, "SIE")
    write_results(run / "eval" / RESULTS, trained)
    write_results(tmp_path / RESULTS, [*results("VICReg", 5, "random"), *trained])
    models, _ = collect([tmp_path])
    assert sorted(model.name for model in models) == ["SIE", "random"]
    by_name = {model.name: model.runs for model in models}
    assert [len(members) for members in by_name.values()] == [1, 1]
    assert by_name["SIE"][0].home == run
    assert by_name["random"][0].home is None


def test_commands_are_those_that_make_a_run_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a name", "SIE", 0, root="/data set")
    write_results(tmp_path / "out" / RESULTS, results("SIE", 1, "timm:resnet18"))
    write_results(tmp_path / "other" / RESULTS, results("SIE", 2, "random"))
    write_results(tmp_path / "start" / RESULTS, results("SIE", 3, f"random:{run}"))
    models, _ = collect([tmp_path])
    told = {model.name: commands(model.runs[0]).splitlines() for model in models}
    assert told == {
        "a name": [
            f"ssl-equiv pretrain --config '{run}/config.yaml' --out '{run}-again'",
            f"ssl-equiv eval --model '{run}' --data '/data set'",
            f"ssl-equiv export '{run}' --out '{run}-timm'",
        ],
        "timm:resnet18": [
            f"ssl-equiv eval --model timm:resnet18 --data DATA --out {tmp_path}/out",
            f"ssl-equiv export timm:resnet18 --out {tmp_path}/out-timm",
        ],
        "random": [f"# nothing tells where random is, judged in {tmp_path}/other"],
        "random init of a name": [
            f"ssl-equiv eval --model 'random:{run}' --data '/data set' --out {tmp_path}/start"
        ],
    }


def test_a_random_start_is_not_its_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sie", "SIE", 0)
    write_results(run / "random" / RESULTS, results("SIE", 9, f"random:{run}"))
    models, _ = collect([run])
    assert [model.name for model in models] == ["sie", "random init of sie"]
    assert models[0].runs[0].curves
    assert models[1].runs[0].curves is None


def test_a_run_that_was_not_judged_yet_is_shown(tmp_path: Path) -> None:
    models, left_out = collect([write_run(tmp_path / "sie", "SIE", 0, judged=False)])
    assert [model.name for model in models] == ["sie"]
    assert models[0].runs[0].curves
    assert not left_out


def test_data_sets_are_not_searched(tmp_path: Path, runs: Path) -> None:
    many = tmp_path / "data"
    for number in range(600):
        (many / str(number)).mkdir(parents=True)
    write_results(many / "3" / RESULTS, [])
    write_results(tmp_path / "out" / RESULTS, results("SIE", 0, "timm:x"))
    assert [model.name for model in collect([tmp_path])[0]] == ["timm:x"]


def half_written(folder: Path) -> dict[str, str]:
    """Directories that are no run, and what is said of them."""
    (folder / "begun").mkdir()
    (folder / "begun" / "config.yaml").write_text("seed_everything: 0\n")
    (folder / "copied" / "checkpoints").mkdir(parents=True)
    return {"begun": "has only begun", "copied": "holds checkpoints but no config.yaml"}


def test_what_is_half_written_is_told(tmp_path: Path) -> None:
    for name, reason in half_written(tmp_path).items():
        with pytest.raises(UserError, match=reason) as told:
            collect([tmp_path / name])
        assert name in str(told.value)
        assert "\n" not in str(told.value)
    write_run(tmp_path / "sie", "SIE", 0)
    models, left_out = collect([tmp_path])  # beside a whole one they are left out, and named
    assert [model.name for model in models] == ["sie"]
    assert len(left_out) == 2


def test_bad_directories(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, reason in (("absent", "not a folder"), ("empty", "neither a run nor results.json")):
        with pytest.raises(UserError, match=reason):
            collect([tmp_path / name])


@pytest.mark.parametrize(
    ("where", "what", "reason"),
    [
        ("eval/results.json", "{", "not readable JSON"),
        ("eval/results.json", '{"format": "other"}', "has format 'other'"),
        ("config.yaml", "a: [1", "is damaged"),
        ("config.yaml", "just words", "holds no options"),
        ("metrics/version_0/metrics.csv", "step,loss\n1,x\n", "is damaged"),
        ("eval/artifacts/spectrum-equi.npz", "PK", "is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, where: str, what: str, reason: str) -> None:
    run = write_run(tmp_path / "sie", "SIE", 0)
    (run / where).write_text(what)
    with pytest.raises(UserError, match=reason) as told:
        collect([run])
    assert Path(where).name in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("field", ["value", "model", "seed", "baseline"])
def test_a_row_of_other_types(tmp_path: Path, field: str) -> None:
    run = write_run(tmp_path / "sie", "SIE", 0)
    path = run / "eval" / RESULTS
    raw = json.loads(path.read_text())
    raw["results"][3][field] = ["<script>"]
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="malformed"):
        collect([run])


def test_moved_runs_keep_their_configuration(tmp_path: Path) -> None:
    """The rows name where the run was when it was judged; it is taken from where it is."""
    write_runs(tmp_path / "old", (0, 1))
    shutil.move(tmp_path / "old", tmp_path / "new")
    models, _ = collect([tmp_path / "new"])
    assert [model.name for model in models] == ["equimod", "sie", "vicreg"]
    assert models[1].runs[0].home == tmp_path / "new" / "sie-seed0"


def test_artifacts_that_nothing_tells_the_model_of(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, [*results("SIE", 0, "a"), *results("SIE", 1, "b")])
    write_artifact(tmp_path, artifacts("SIE", 0)[0])
    models, _ = collect([tmp_path])
    assert [bool(model.runs[0].artifacts) for model in models] == [False, False, True]
    rows = read_results(tmp_path / RESULTS)
    assert replace(rows[0]) == models[0].runs[0].rows[0]
