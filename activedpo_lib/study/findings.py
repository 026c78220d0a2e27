"""What each notebook found, as sentences computed from its tables: `finding("14_v_ablation")`.

Every number is read from figures/*.csv, and every above, below and level follows from a 95 %
interval over seeds, so that a sentence stays true when the figures are made again.
"""

from dataclasses import dataclass
from pathlib import Path

from activedpo_lib.params import load_params
from activedpo_lib.store import HOME, read_json
from activedpo_lib.study.notebooks import FIGURES
from activedpo_lib.study.sentences import SENTENCES
from activedpo_lib.study.studies import place

COMMITTED = HOME / "figures"


@dataclass(frozen=True)
class Finding:
    """Markdown that Jupyter renders: `text`, and in `source` whose numbers they are."""

    text: str
    source: str

    def _repr_markdown_(self) -> str:
        return f"{self.text}\n\n*{self.source}*" if self.source else self.text


def finding(notebook: str, yours: Path | str = "", committed: Path | str = COMMITTED) -> Finding:
    """What the committed tables say on the question of `notebook`; where `yours` names a folder of
    figures, what its tables say too, beneath. Raises ValueError for a notebook that has none.
    """
    if notebook not in SENTENCES:
        raise ValueError(f"no finding for {notebook!r}; there is one for {sorted(SENTENCES)}")
    folders = {"The committed figures": Path(committed)}
    if yours and Path(yours).resolve() != Path(committed).resolve():
        folders["Your figures"] = Path(yours)
    parts = [_one(notebook, whose, folder) for whose, folder in folders.items()]
    if len(parts) == 1:
        return Finding(*parts[0])
    return Finding("\n\n".join(f"{text}\n\n*{source}*" for text, source in parts), "")


def _one(notebook: str, whose: str, folder: Path) -> tuple[str, str]:
    figure = FIGURES[notebook][0]
    if not (folder / f"{figure}.csv").is_file():
        return "", f"{whose}: none yet, {figure}.csv is not in {folder.name or folder}."
    return sentences(notebook, folder), f"{whose}: {source(notebook, folder)}."


def sentences(notebook: str, folder: Path | str = COMMITTED) -> str:
    """The finding's text alone, from the tables in `folder`."""
    return SENTENCES[notebook](Path(folder))


def source(notebook: str, folder: Path) -> str:
    """Of which profile, world, seeds and commit the numbers are."""
    figure = FIGURES[notebook][0]
    path = folder / ("provenance.json" if figure == "fig1_reward" else f"{figure}.json")
    if not path.is_file():
        return f"{figure}.csv, without a record of where it came from"
    record = read_json(path)
    seeds = len(record["seed"])
    made_on = dict.fromkeys(
        (record.get("where") or _where(record["profile"]), f"profile {record['profile']}")
    )
    return (
        f"{', '.join(made_on)}, {seeds} seed{'s' * (seeds > 1)}, commit {record['commit']}; "
        "± is half a 95 % interval over seeds"
    )


def _where(profile: str) -> str:
    try:
        return place(load_params(profile).task.source == "world", profile)
    except (ValueError, OSError):
        return f"profile {profile}"  # a file that is not here any more
