"""Each notebook runs under the smoke profile, through the same engine and wrapper as `make
figures`; and reads well.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from activedpo_lib.batch.execute import execute
from activedpo_lib.params import load_grid, load_params
from activedpo_lib.store import read_json
from activedpo_lib.study.notebooks import FIGURES
from activedpo_lib.study.sentences import SENTENCES

HOME = Path(__file__).parent.parent
SOURCES = sorted((HOME / "notebooks").glob("*.ipynb"))
RUNS = HOME / "runs" / "smoke"


# Notebooks that are studies, each with figures of its own: `make test-slow`.
STUDIES = set(FIGURES) - {"08_main_results"}
# Batches of their own. Models of four sizes take hours: with small ones it runs in
# tests/study/test_model_size.py.
ALONE = {"26_model_size"}


def run_smoke(*more):
    """`make figures PROFILE=smoke`: run, or found up to date."""
    command = [sys.executable, "-m", "activedpo_lib.batch.batch", "smoke", *more]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done


@pytest.fixture(scope="session")
def smoke():
    """The smoke pipeline of Figures 1 and 5."""
    return run_smoke()


@pytest.fixture(scope="session")
def smoke_studies(smoke):
    """The studies under smoke as well, and three batches of their own: Figures 13, 18, 20, 22 to
    24.
    """
    run_smoke("--strategies")
    run_smoke("--fresh")
    run_smoke("--parts")
    return run_smoke("--studies")


def of_smoke(names):
    """Notebooks as parameters of a test, all that share the pipeline in one of the processes."""
    return pytest.mark.parametrize("source", names, ids=lambda path: path.stem)


@of_smoke([path for path in SOURCES if path.stem not in STUDIES])
def test_each_notebook_runs_under_smoke(source, smoke):
    check_executed(source)


def test_one_study_makes_its_figure_without_the_others(tmp_path, smoke):
    given = {"profile": "smoke", "root": str(RUNS), "seeds": [0, 1], "figures": str(tmp_path)}
    execute(HOME / "notebooks" / "15_costs.ipynb", tmp_path / "15_costs.ipynb", given)
    assert len(pd.read_csv(tmp_path / "fig8_costs.csv")) > 2


@pytest.mark.studies
def test_a_replay_is_asked_too_whether_labels_limit_it_and_what_could_be_gained(tmp_path):
    profile = tmp_path / "replayed.yaml"
    text = (HOME / "params" / "smoke.yaml").read_text()
    profile.write_text(text + "\nreplay: true\n")
    given = {"profile": str(profile), "root": str(tmp_path / "runs"), "seeds": [0, 1]}
    given |= {"figures": str(tmp_path)}
    for name in ("06_label_elasticity", "07_room"):
        execute(HOME / "notebooks" / f"{name}.ipynb", tmp_path / f"{name}.ipynb", given)
    assert "agreement" in pd.read_csv(tmp_path / "fig15_label_elasticity.csv")
    assert "agreement" in pd.read_csv(tmp_path / "fig16_room.csv")


@pytest.mark.studies
@of_smoke([path for path in SOURCES if path.stem in STUDIES - ALONE])
def test_each_studys_notebook_runs_under_smoke(source, smoke_studies):
    check_executed(source)


def check_executed(source):
    executed = [
        path
        for path in (RUNS / "notebooks").glob("*.ipynb")
        if path.stem.startswith(source.stem[:6])
    ]
    assert executed
    for path in executed:
        cells = nbformat.read(path, 4).cells
        assert not [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"]
        assert "%|" not in str([c.get("outputs") for c in cells]), "a bar in a batch"
        assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", [])), (
            "no figure"
        )


def test_smoke_makes_figures_with_tables_and_provenance(smoke):
    grid, figures = load_grid("smoke"), RUNS / "figures"
    for name in ("fig1_reward", "fig5_win_rate"):
        table = pd.read_csv(figures / f"{name}.csv")
        rounds = load_params("smoke").rounds + 1
        assert (
            len(table)
            == len(grid.tasks) * len(grid.models) * len(grid.strategies) * len(grid.seeds) * rounds
        )
        assert not table.duplicated(["task", "model", "strategy", "seed", "round"]).any()
        assert list(table.columns[:6]) == ["task", "model", "strategy", "seed", "round", "labels"]
        assert {"reward", "reward_std", "win_rate", "utility", "length", "distinct"} <= set(table)
        assert not [column for column in table if "seconds" in column]  # same params, same bytes
        assert (figures / f"{name}.svg").read_text().startswith("<?xml")
    found = read_json(figures / "provenance.json")
    assert found["notebook"] == "08_main_results"
    runs = len(grid.tasks) * len(grid.models) * len(grid.strategies) * len(grid.seeds)
    assert max(made["runs"] for made in found["runs"]) == runs
    assert found["code"] in {made["code"] for made in found["runs"]}
    params = load_params("smoke", "tldr", "llama", "activedpo")
    assert found["params"]["tldr/llama/activedpo"] == params.digest()


STUDY_FIGURES = [
    name
    for notebook, names in FIGURES.items()
    for name in names
    if notebook not in ALONE | {"08_main_results"}  # of Figures 1 and 5: the tests above
]


@pytest.mark.studies
@pytest.mark.parametrize("name", STUDY_FIGURES)
def test_each_study_makes_its_figure_with_its_table_and_where_both_came_from(name, smoke_studies):
    figures = RUNS / "figures"
    assert (figures / f"{name}.svg").read_text().startswith("<?xml")
    assert len(pd.read_csv(figures / f"{name}.csv")) > 2
    found = read_json(figures / f"{name}.json")
    assert found["profile"] == "smoke"
    assert found["params"]
    assert sum(made["runs"] for made in found["runs"]) >= 1


@pytest.mark.parametrize("name", STUDY_FIGURES)
def test_each_committed_figure_has_its_table(name):
    figures = HOME / "figures"
    assert (figures / f"{name}.svg").is_file()
    assert len(pd.read_csv(figures / f"{name}.csv")) > 2
    assert read_json(figures / f"{name}.json")["seed"]


def test_no_two_strategies_look_alike():
    from activedpo_lib.method.strategies import STRATEGIES
    from activedpo_lib.study.drawing import plots

    looks = plots.look(STRATEGIES)
    assert len({look["color"] for look in looks.values()}) == len(STRATEGIES)
    assert len({look["marker"] for look in looks.values()}) == len(STRATEGIES)


def test_a_batch_is_told_in_a_line_a_job_and_its_last_lines_say_where_things_are(smoke):
    lines = smoke.stdout.splitlines()
    assert lines[1] == "the engine's and the notebooks' own lines: runs/smoke/engine.log"
    assert lines[-2:] == [
        "executed notebooks: runs/smoke/notebooks/",
        "figures: runs/smoke/figures/",
    ]
    assert len([line for line in lines if "running: " not in line]) <= 4 + 10  # 10 jobs


def test_every_strategy_starts_from_the_same_evaluation_and_labels_alike(smoke):
    table = pd.read_csv(RUNS / "figures" / "fig1_reward.csv")
    start = table[table["round"] == 0].groupby(["task", "model", "seed"])
    assert (start["reward"].nunique() == 1).all()
    assert (start["win_rate"].first() == 0.5).all()
    assert (table.groupby("round")["labels"].nunique() == 1).all()


def test_a_second_call_finds_everything_done(smoke):
    before = {path: path.stat().st_mtime_ns for path in RUNS.glob("tables/*.csv")}
    assert not re.search(r" of \d+ done", run_smoke().stdout)
    assert {path: path.stat().st_mtime_ns for path in RUNS.glob("tables/*.csv")} == before


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_reads_as_it_should(source):
    cells = nbformat.read(source, 4).cells
    first = cells[0].source
    assert re.match(r"# .*\?", first), "the title is a question"
    assert "![" in first, "a figure on the first screen"
    assert "Runtime" in first
    assert [c for c in cells if "parameters" in c.metadata.get("tags", [])], (
        "a cell tagged parameters"
    )
    assert any("## Exercises" in c.source for c in cells)  # their checks: tests/course
    for cell in cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert "class " not in cell.source
        elif (
            not cell.source.startswith("# ")
            and "|---|" not in cell.source
            and "## Exercises" not in cell.source
        ):
            assert len(cell.source.split()) <= 90, cell.source


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_parameter_says_what_it_is(source):
    cell = next(
        c for c in nbformat.read(source, 4).cells if "parameters" in c.metadata.get("tags", [])
    )
    for line in cell.source.splitlines():
        assert line.count("#") >= 1, f"{source.name}: {line}"


LONGEST_CELL = 12
COUNT = "(?:none|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|all)"
NUMBER = re.compile(
    r"(?<![A-Za-z_\d])[-+]?\.?\d[\d,.]*(?: %)?|±"
    rf"|\b{COUNT} (?:out )?of (?:the )?(?:{COUNT}|twenty|thirty|forty|fifty)\b",
    re.IGNORECASE,
)
# The records of trials: no figure's result.
TUNING = (
    "00_world",
    ("## How the settings were chosen", "## How the strategy of notebook 25 was chosen"),
)
NOT_RESULTS = [  # what may hold a number that no table has to answer for
    r"```.*?```|`[^`]*`",  # code and values of parameters
    r"\$[^$]*\$",  # formulas
    r"!?\[[^\]]*\]\([^)]*\)",  # pictures and links
    r"^\*Runtime:.*?\*$",
    r"^\*\*\d\d\.\d .*?(?=\n\n|\Z)",  # a task's values are parameters; `check` holds its answer
    r"\b(Figures?|Fig\.|Eqs?\.|Sec\.|Prop\.|Proposition|Algorithm|Assumption|footnote|"
    r"[Nn]otebooks?|[Ll]ines?|l\.) \d+(\.\d+)*((, | and | to )\d+)*",  # a place to look it up
    r"\bet al\.,? \(?\d{4}\)?",  # the year of a paper
    r"\b(Llama-2|Gemma-2B|Llama-2-7B|7B)\b",  # models
    r"\b95 % (t )?intervals?\b",  # the level of every interval
]


def prose(source):
    """The markdown of a notebook, cell by cell, without what NOT_RESULTS lists and without the
    cells that record what was tried on the tuning draw.
    """
    for cell in nbformat.read(source, 4).cells:
        tuning = source.stem == TUNING[0] and cell.source.startswith(TUNING[1])
        if cell.cell_type == "markdown" and not tuning:
            text = cell.source
            for pattern in NOT_RESULTS:
                text = re.sub(pattern, " ", text, flags=re.S | re.M)
            yield text


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_number_stands_in_prose_that_no_table_answers_for(source):
    """Findings are computed: whatever is written in digits is a formula, code, a parameter's value
    or a place to look it up.
    """
    for text in prose(source):
        typed = NUMBER.findall(text)
        assert not typed, f"{source.name} types {typed} in: {text.strip()[:300]}"


TYPED = [
    "it ends 0.12 lower",
    "in 5 % of picks",
    "by 3 ± 1",
    "p = .05",
    "-0.09",
    "in 2 of 11",
    "+3",
]
TYPED += ["Eleven of forty cells", "ahead in none of the four"]


@pytest.mark.parametrize(
    "text",
    [
        *TYPED,
        "## Exercises\n\n**12.1 Do.** At 0.5.\n\nIt fell to 0.2",
        "| a | b |\n|---|---|\n| tldr | 12 |",
    ],
)
def test_a_typed_number_is_seen(text, tmp_path):
    with pytest.raises(AssertionError, match="types"):
        test_no_number_stands_in_prose_that_no_table_answers_for(_notebook(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "see Figures 1 and 5, Eq. 3, D16, notebook 08 (Ash et al. 2020)",
        "`top_k: 5`, $x^2 = 4$, ![a 3](b4.svg), Llama-2 and 7B, t intervals of V_0",
        "*Runtime: 3 min.*",
        "## Exercises\n\n**12.1 Halve it.** At 0.5,\nor at 3.\n\n**12.2 Now** at 7.",
    ],
)
def test_formulas_code_places_and_tasks_may_hold_numbers(text, tmp_path):
    test_no_number_stands_in_prose_that_no_table_answers_for(_notebook(tmp_path, text))


@pytest.mark.parametrize("heading", TUNING[1])
def test_only_the_records_of_tuning_are_exempt(heading, tmp_path):
    record, other = f"{heading}\n\nkept 0.1", "## Else\n\n|---|\n| 0.1 |"
    test_no_number_stands_in_prose_that_no_table_answers_for(_notebook(tmp_path, record, TUNING[0]))
    for text, name in ((record, "a"), (other, TUNING[0])):
        with pytest.raises(AssertionError, match="types"):
            test_no_number_stands_in_prose_that_no_table_answers_for(
                _notebook(tmp_path, text, name)
            )


def _notebook(folder, text, name="a"):
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), path)
    return path


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_code_cell_has_at_most_twelve_lines(source):
    for cell in nbformat.read(source, 4).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if s.stem in SENTENCES], ids=lambda s: s.stem
)
def test_the_finding_stands_at_the_top_and_at_the_end(source):
    cells = nbformat.read(source, 4).cells
    assert f'finding("{source.stem}")' in cells[1].source
    ends = [
        at for at, cell in enumerate(cells) if f'finding("{source.stem}", figures)' in cell.source
    ]
    saved = [at for at, cell in enumerate(cells) if ".save(" in cell.source]
    assert ends
    assert ends[-1] > max(saved, default=0)
