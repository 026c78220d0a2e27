"""Studies: params/studies/*.yaml under a profile: the runs that a study notebook needs, run once,
read again, and its figure saved beside its table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pandas as pd

from activedpo_lib.params import PROFILES, ParamsError, load_grid, load_params, read_profile
from activedpo_lib.schema import MADE_HERE, Params
from activedpo_lib.store import provenance, write_json, write_table
from activedpo_lib.study.live.bar import bar, silent
from activedpo_lib.study.notebooks import FIGURES
from activedpo_lib.study.tables import without_times
from activedpo_lib.study.variants import asked, chosen_by, scaled
from activedpo_lib.tasks.pools import scarcity_warning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from activedpo_lib.runs.run import Run

STUDIES = PROFILES / "studies"
KEYS = {"tasks", "models", "variants", "strategies", "first_seed"}
NAMES = ("task", "model", "variant", "strategy")  # of a cell's parts
WORLD_ONLY = {"task.skew", "task.evaluation_skew", "task.junk"}
SHAPE = {"model.hidden_size", "model.layers", "model.heads"}
WORLD = "the built-in world (synthetic; says nothing about 7B models)"

Cell = tuple[str, str, str, str]


@dataclass(frozen=True)
class Study:
    """A study under one profile. `cells` maps (task, model, variant, strategy) to the Params of its
    runs, whatever the seed; `seeds` and `root` say which runs and where they lie. A study that
    judges what other seeds chose counts its seeds from `first_seed`.
    """

    name: str
    profile: str
    cells: MappingProxyType[Cell, Params]
    seeds: tuple[int, ...] = ()
    root: Path | str = "runs"
    first_seed: int = 0

    @classmethod
    def open(
        cls,
        name: str,
        profile: str = "tiny",
        seeds: Iterable[int] = (0,),
        root: Path | str = "runs",
        more: dict[str, dict] | None = None,
    ) -> "Study":
        """The study `name` with its seeds and the folder of all runs; nothing is run yet.

        more: {variant: overrides} beside the file's (Fig. 2's subsets). Raises ParamsError for an
        unknown study, key or impossible value, or where nothing of it can run under this profile,
        and ValueError for no seed.
        """
        if not (seeds := tuple(seeds)):
            raise ValueError(f"the study {name} has no seeds; give at least one, as in seeds=[0]")
        found = load_study(name, profile, more)
        if not found.cells:
            raise ParamsError(
                f"the study {name} asks for what only the built-in world has, a known truth, or a "
                f"model made here, its width; the profile {profile} lacks it: run it under tiny"
            )
        return replace(found, seeds=tuple(found.first_seed + seed for seed in seeds), root=root)

    @property
    def known(self) -> bool:
        """Is the truth known beside the oracle? It is on the built-in world only."""
        return all(params.task.source == "world" for params in self.cells.values())

    @property
    def where(self) -> str:
        """On what its results were got, as titles of figures say it."""
        return place(self.known, self.profile)

    def digests(self) -> dict[str, str]:
        """{"task/model/variant/strategy": the params' hash}, for provenance."""
        return {"/".join(cell): params.digest() for cell, params in self.cells.items()}

    def table(self) -> pd.DataFrame:
        """The cells, one a row: their parts, rounds, and the pairs of a batch."""
        return pd.DataFrame(
            [
                dict(zip(NAMES, cell, strict=True)) | {"rounds": q.rounds, "batch": q.batch_size}
                for cell, q in self.cells.items()
            ]
        )

    def run(self, log: Callable[[str], None] = print) -> pd.DataFrame:
        """The tidy table of all runs, one row a round; a finished round is read, not run again, and
        a run that another process has begun is waited for, a helper's too (`study.helpers`). A bar
        shows the time left.
        """
        from activedpo_lib.runs.launch import run_rounds  # brings torch, which plans do not need
        from activedpo_lib.study.helpers import helpers

        # Seed by seed: stopped at any time, the variants have the same seeds, or nearly. Helpers
        # begin with the last seed.
        tables, jobs = [], list(product(self.seeds, self.cells.items()))
        for warning in filter(None, dict.fromkeys(map(scarcity_warning, self.cells.values()))):
            log(f"{self.name}: {warning}")
        with helpers([(params, seed) for seed, (_, params) in jobs], self.root, log):
            for seed, ((_, _, variant, _), params) in bar(jobs, self.name):
                found = run_rounds(params, seed, self.root, log=silent, patience=float("inf"))
                found.insert(2, "variant", variant)
                tables.append(found)
                if len(tables) % len(self.cells) == 0:
                    log(f"{self.name}, seed {seed}: {len(tables)} of {len(jobs)} runs")
        return pd.concat(tables, ignore_index=True)

    def only(self, keep: Callable[[Cell, Params], bool]) -> "Study":
        """The study of the cells that `keep` takes alone: no run of another is opened."""
        kept = {cell: own for cell, own in self.cells.items() if keep(cell, own)}
        return replace(self, cells=MappingProxyType(kept))

    def runs(self, seeds: Iterable[int] | None = None) -> Iterator[tuple[dict, "Run"]]:
        """Yield (cell as {"task", "model", "variant", "strategy", "seed"}, Run) of rounds that are
        saved; of `seeds` only, where some are named.
        """
        from activedpo_lib.runs.run import open_run  # brings torch

        for seed in self.seeds if seeds is None else seeds:
            for cell, params in self.cells.items():
                run = open_run(params, seed, self.root, log=silent)
                yield dict(zip(NAMES, cell, strict=True)) | {"seed": seed}, run

    def save(
        self,
        figures: Path | str,
        name: str,
        figure: "Figure",
        table: pd.DataFrame,
        more: dict[str, pd.DataFrame] | None = None,
        also: tuple["Study", ...] = (),
    ) -> None:
        """Write `name`.svg into the folder `figures`, its table beside it, and where both came
        from, each whole; figures "" writes nothing.

        more: {part: table} of what else the figure shows, as `name`_<part>.csv; also: other studies
        whose runs are in it.
        """
        if not figures:
            return
        for part, own in {"": table, **{f"_{p}": t for p, t in (more or {}).items()}}.items():
            write_table(f"{figures}/{name}{part}.csv", without_times(own))
        record = self._record(name, (self, *also))
        about = {"Date": None, "Description": f"{record['notebook']}, profile {self.profile}"}
        figure.savefig(f"{figures}/{name}.svg", metadata=about)
        write_json(f"{figures}/{name}.json", record)

    def _record(self, name: str, studies: tuple["Study", ...]) -> dict:
        from activedpo_lib.runs.checkpoints import provenances  # brings torch

        digests = {study.name: study.digests() for study in studies}
        made: dict[tuple[int, ...], set[str]] = {}  # of the runs with these seeds
        for study in studies:
            made.setdefault(study.seeds, set()).update(digests[study.name].values())
        about = {"notebook": made_by(name), "profile": self.profile, "where": self.where}
        own = {study.name: list(study.seeds) for study in studies if study.seeds != self.seeds}
        runs = [by for seeds, keys in made.items() for by in provenances(self.root, keys, seeds)]
        said = provenance(digests, list(self.seeds))
        return about | said | {"other_seeds": own, "runs": runs}


def place(known: bool, profile: Path | str) -> str:
    """On what results were got: the built-in world, where alone the truth is `known`, or the data
    of a profile.
    """
    return WORLD if known else f"profile {profile}"


def made_by(figure: str) -> str:
    """The notebook that makes `figure`; figures of your own come from "your own notebook"."""
    return next((by for by, names in FIGURES.items() if figure in names), "your own notebook")


def changes(name: str) -> pd.DataFrame:
    """What each variant of the study's file changes, a row a variant; rounds are left out."""
    variants = read_profile(STUDIES / f"{name}.yaml")["variants"]
    own = {v: [f"{k}: {x}" for k, x in of.items() if k != "rounds"] for v, of in variants.items()}
    return pd.DataFrame([{"variant": v, "changed": ", ".join(said)} for v, said in own.items()])


def study_names() -> list[str]:
    """The studies of params/studies/."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load_study(name: str, profile: str = "tiny", more: dict[str, dict] | None = None) -> Study:
    """The Study `name` under a profile, without seeds: what it would run, for plans and keys.

    more: {variant: overrides} beside the file's. Every value is checked before any run starts.
    Raises ParamsError for an unknown study, key or impossible value.
    """
    if name not in study_names():
        raise ParamsError(f"no study {name!r} in {STUDIES}; it has {study_names()}")
    read = read_profile(STUDIES / f"{name}.yaml")
    for key in sorted(set(read) - KEYS):
        raise ParamsError(f"{name}.yaml: unknown key {key!r}; known keys are {sorted(KEYS)}")
    grid = load_grid(profile)
    of = [asked(name, read, key, getattr(grid, key)) for key in ("tasks", "models")]
    cells = {}
    for task, model in product(*of):
        usual = load_params(profile, task, model)
        for variant, overrides in (read["variants"] | (more or {})).items():
            if usual.task.source != "world" and (
                WORLD_ONLY & set(overrides) or overrides.get("oracle.kind") == "utility"
            ):
                continue  # real text has its own topics and its own junk, and no known truth
            if usual.model.base not in MADE_HERE and SHAPE & set(overrides):
                continue  # and a model that was made elsewhere its own width
            if usual.replay and "oracle.after_first" in overrides:
                continue  # people have answered already, and nobody answers in their place
            changed = scaled(overrides, usual)
            for chooser in read.get("strategies") or [changed.get("strategy", "activedpo")]:
                cells[task, model, variant, chooser] = load_params(
                    profile, task, model, overrides=changed | chosen_by(chooser)
                )
    return Study(name, profile, MappingProxyType(cells), first_seed=read.get("first_seed", 0))
