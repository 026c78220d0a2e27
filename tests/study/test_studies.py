"""params/studies under every profile; a study run, read again and saved."""

import re
from dataclasses import replace
from types import MappingProxyType

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from activedpo_lib.method.strategies import STRATEGIES
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.schema import MADE_HERE
from activedpo_lib.store import HOME, read_json
from activedpo_lib.study import studies
from activedpo_lib.study.comparisons import own_step
from activedpo_lib.study.notebooks import FIGURES
from activedpo_lib.study.probing import by_size
from activedpo_lib.study.scarcity import longer
from activedpo_lib.study.studies import Study, load_study, study_names


@pytest.mark.parametrize("profile", ["tiny", "smoke", "files", "small", "paper", "qwen3"])
def test_every_study_is_possible_under_every_profile(profile):
    for name in study_names():
        study, usual = load_study(name, profile), load_params(profile)
        widths = name in ("scale", "scale_tuning") and usual.model.base not in MADE_HERE
        truth = name == "proposition" and usual.task.source != "world"
        assert bool(study.cells) != (widths or truth)
        assert all(params.profile == profile for params in study.cells.values())


def test_a_factor_multiplies_what_the_profile_says():
    tiny, paper = (load_study("projection", profile).cells for profile in ("tiny", "paper"))
    sizes = [
        {v: q.selection.dimensions for (_, _, v, _), q in cells.items()} for cells in (tiny, paper)
    ]
    assert [s["fold x1/8"] for s in sizes] == [64, 1024]
    halves = {v: (q.batch_size, q.rounds) for (_, _, v, _), q in load_study("pays").cells.items()}
    assert halves["usual"] == (10, 6)
    assert halves["batch x1/2, rounds x2"] == (5, 12)
    assert halves["batch x3, rounds x1/3"] == (30, 2)


def test_all_strategies_means_all():
    ours = {strategy for *_, strategy in load_study("strategies").cells}
    assert ours == set(STRATEGIES) - {"frozen_v"}  # an ablation of ActiveDPO, in Figure 7


def test_studies_share_runs_with_the_main_figures():
    usual = load_params("tiny", "webgpt", "gemma", "activedpo").digest()
    for name in (
        "normalisation",
        "projection",
        "v_ablation",
        "probed",
        "pays",
        "strategies",
    ):
        assert usual in {params.digest() for params in load_study(name).cells.values()}, name


def test_every_model_of_the_profile_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "STUDIES", tmp_path)
    for models, found in (("every", {"llama", "gemma"}), ("last", {"gemma"})):
        said = {"tasks": "every", "models": models, "variants": {"usual": {}}}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(said))
        cells = load_study("mine").cells
        assert {model for _, model, _, _ in cells} == found
        assert len(cells) == 2 * len(found)
        assert all((t, m) == (q.task.name, q.model.name) for (t, m, _, _), q in cells.items())


def test_an_unknown_study_and_a_bad_one_are_named(tmp_path, monkeypatch):
    with pytest.raises(ParamsError, match="no study 'projektion'"):
        load_study("projektion")
    said = {
        "odd": {"tasks": "last", "variants": {"a": {"selection.rigde": 1.0}}},
        "odder": {"tasks": "last", "variant": {}},
        "oddest": {"models": "all", "variants": {"a": {}}},
    }
    for name, values in said.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setattr(studies, "STUDIES", tmp_path)
    with pytest.raises(ParamsError, match=r"did you mean selection\.ridge"):
        load_study("odd")
    with pytest.raises(ParamsError, match="unknown key 'variant'"):
        load_study("odder")
    with pytest.raises(ParamsError, match="models is 'all'; write every, first or last"):
        load_study("oddest")


SMALL = {"oracle.kind": "utility", "task.sft_rows": 32, "rounds": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    small = {"small": SMALL | {"strategy": "random"}}
    opened = Study.open("v_ablation", "smoke", [0], tmp_path_factory.mktemp("runs"), small)
    cells = {cell: params for cell, params in opened.cells.items() if cell[2] == "small"}
    return replace(opened, cells=MappingProxyType(cells))


def test_a_study_runs_once_and_is_then_read(study):
    lines = []
    first = study.run(lines.append)
    assert lines[1:] == ["v_ablation, seed 0: 1 of 1 runs"]  # after the warning of a small pool
    written = {path: path.stat().st_mtime_ns for path in study.root.glob("rounds/**/*.npz")}
    assert written
    pd.testing.assert_frame_equal(first, study.run(lines.append))
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert first["variant"].unique().tolist() == ["small"]
    ((cell, run),) = study.runs()
    ((task, model, _, _),) = study.cells
    where = {"task": task, "model": model}
    assert cell == where | {"variant": "small", "strategy": "random", "seed": 0}
    assert run.params == study.cells[task, model, "small", "random"]


def test_a_study_says_where_its_results_are_from_and_what_it_runs(study):
    assert study.known
    assert study.where == "the built-in world (synthetic; says nothing about 7B models)"
    files = Study.open("v_ablation", "files")
    assert (files.known, files.where) == (False, "profile files")
    ((cell, params),) = study.cells.items()
    (row,) = study.table().to_dict("records")
    assert tuple(row.values()) == (*cell, 2, params.batch_size)


def test_a_saved_figure_has_its_tables_without_times_and_where_they_came_from(study, tmp_path):
    results = study.run(lambda _: None)
    figure = plt.figure()
    study.save(tmp_path, "fig7_v_ablation", figure, results, {"part": results.head(1)})
    study.save("", "fig8_costs", figure, results)
    names = sorted(path.name for path in tmp_path.iterdir())
    stem = "fig7_v_ablation"
    assert names == [f"{stem}.csv", f"{stem}.json", f"{stem}.svg", f"{stem}_part.csv"]
    saved = pd.read_csv(tmp_path / f"{stem}.csv")
    assert not [name for name in saved if "seconds" in name]
    np.testing.assert_allclose(saved["reward"], results["reward"], rtol=1e-4)
    found = read_json(tmp_path / f"{stem}.json")
    assert (found["notebook"], found["profile"], found["seed"]) == ("14_v_ablation", "smoke", [0])
    assert found["params"] == {"v_ablation": study.digests()}
    assert sum(made["runs"] for made in found["runs"]) == 1
    assert found["where"] == study.where


def test_in_a_replay_nobody_answers_in_peoples_place(tmp_path):
    profile = tmp_path / "replayed.yaml"
    profile.write_text((HOME / "params" / "smoke.yaml").read_text() + "\nreplay: true\n")
    asked = {cell[2] for cell in load_study("elasticity", str(profile)).cells}
    assert asked == {cell[2] for cell in load_study("elasticity", "smoke").cells} - {
        "its own labels"
    }
    assert {cell[2] for cell in load_study("controls", str(profile)).cells} == {"oracle", "step x2"}


@pytest.mark.parametrize("profile", ["files", "paper", "qwen3"])
def test_proposition_1_is_not_checked_on_real_text(profile, tmp_path):
    said = f"the study proposition asks for what only the built-in world has, .* profile {profile}"
    with pytest.raises(ParamsError, match=f"{said} lacks it: run it under tiny"):
        Study.open("proposition", profile, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_study_without_seeds_is_named():
    with pytest.raises(ValueError, match="v_ablation has no seeds"):
        Study.open("v_ablation", "smoke", [])


def test_each_figure_is_saved_by_the_notebook_that_it_is_said_to_be_of():
    constants = {f"{m.__name__.split('.')[-1]}.NAME": m.NAME for m in (by_size, longer, own_step)}
    for stem, names in FIGURES.items():
        if stem == "08_main_results":  # Figures 1 and 5 are saved by a function of their own
            continue
        cells = nbformat.read(HOME / "notebooks" / f"{stem}.ipynb", 4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        saved = re.findall(r"\.save\(figures, \"?([\w.]+)", code)
        assert {constants.get(name, name) for name in saved} == set(names), stem
        assert all(studies.made_by(name) == stem for name in names)
    assert studies.made_by("mine") == "your own notebook"


def test_changes_are_those_of_the_file_without_the_rounds():
    found = studies.changes("decisions").set_index("variant")["changed"]
    assert found["D2 ridge 0.1"] == "selection.ridge: 0.1"
    assert found["default"] == ""


def test_a_bar_is_for_somebody_who_looks(monkeypatch, capsys):
    from activedpo_lib.study.live.bar import bar

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert list(bar([1, 2], "here")) == [1, 2]
    assert "here: 100%" in capsys.readouterr().err
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as `batch.execute` sets it
    assert list(bar([1, 2], "here")) == [1, 2]
    assert not capsys.readouterr().err


def test_a_batch_that_is_a_large_part_of_its_pool_is_said_once_before_the_runs(monkeypatch):
    told = []

    def run(params, seed, root, **_):
        told.append("a run")
        return pd.DataFrame({"task": ["tldr"], "model": ["llama"], "strategy": ["random"]})

    monkeypatch.setattr("activedpo_lib.runs.launch.run_rounds", run)
    Study.open("v_ablation", "smoke", [0, 1]).run(told.append)  # 6 of 36 pairs
    warnings = [line for line in told if "warning" in line]
    assert told[0] == warnings[0]
    assert len(warnings) == 1
    assert "16.7% of the pool's 36 pairs" in warnings[0]
    assert told.count("a run") > 2
