"""What this project's first laboratory said of the paper's claims, and why the verdicts that moved
did. It is the commit COMMIT, whose figures/ and README hold its tables: it labelled 40 of 360 pairs
a round, where now 10 are, and there a quarter of the labels gave the same reward.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from activedpo_lib.study.claims import all_claims
from activedpo_lib.study.findings import COMMITTED

COMMIT = "ca97d54"


class Then(NamedTuple):
    """A claim at COMMIT: its ruling, what was measured, and why the ruling is another today."""

    ruling: str
    measured: str
    why: str = ""


SCARCE = (
    "Then no choice of labels could gain: fewer of them gave the same reward. Now labels are "
    "scarce, there is room (notebooks 06 and 07), and ActiveDPO gains some of it in some cells."
)
THEN = {
    "ActiveDPO gives higher rewards than Random everywhere": Then(
        "does not",
        "tldr, gemma -0.01 ± 0.11; tldr, llama -0.01 ± 0.09; webgpt, gemma +0.00 ± 0.06; webgpt, "
        "llama -0.09 ± 0.08",
        SCARCE,
    ),
    "ActiveDPO gives higher win-rates than Random everywhere": Then(
        "does not",
        "tldr, gemma -0.01 ± 0.05; tldr, llama +0.00 ± 0.05; webgpt, gemma +0.00 ± 0.03; webgpt, "
        "llama -0.04 ± 0.03",
        SCARCE,
    ),
    "APLP does well on Gemma, worse than Random on Llama-2": Then(
        "mixed",
        "tldr, gemma -0.02 ± 0.13; webgpt, gemma -0.05 ± 0.11; tldr, llama -0.11 ± 0.06; webgpt, "
        "llama -0.04 ± 0.04",
        "With Llama APLP was below Random; now it is above on TL;DR. There its picks move the "
        "policy further from pi_SFT than Random's do; at an equal distance no gain is established "
        "(Figure 20).",
    ),
    "Different models need different data (interaction)": Then(
        "mixed",
        "reward p = 0.049 (a seed left out: up to 0.19), win-rate p = 0.059 (a seed left out: up "
        "to 0.20)",
        "It hung on one seed: without it the interaction was not established. Other seeds, and "
        "fewer labels, show none.",
    ),
    "Normalising helps on WebGPT and changes little on TL;DR": Then(
        "does not",
        "with - without: tldr +0.12 ± 0.08; webgpt +0.06 ± 0.06",
        "On TL;DR normalising helped, which the claim denies. With fewer labels its effect there "
        "is smaller, and may be none.",
    ),
    "Without normalisation, short responses are favoured": Then(
        "does not", "picks longer than the pool by (tokens) tldr +0.3 ± 0.1; webgpt +0.9 ± 0.1"
    ),
    "Fewer dimensions are worse": Then(
        "not established", "d / 64 +0.03 ± 0.04; d / 8 +0.00 ± 0.04"
    ),
    "More than the default do not help": Then("not established", "4 d: -0.04 ± 0.05"),
    "Uncertainty rises with the reward's error (what Prop. 1 is used for)": Then(
        "holds", "rank correlation tldr +0.12 ± 0.02; webgpt +0.21 ± 0.02"
    ),
}


def then_and_now(folder: Path | str = COMMITTED) -> pd.DataFrame:
    """A row a claim of the paper: its ruling and what was measured at COMMIT and by the tables of
    `folder`, and where the ruling moved, why.
    """
    now = {claim: (ruling, measured) for claim, _, measured, ruling in all_claims(folder)}
    rows = []
    for claim, then in THEN.items():
        ruling, measured = now[claim]
        moved = ruling != then.ruling
        told = f"{then.ruling}: {then.measured}", f"{ruling}: {measured}"
        rows.append((claim, *told, (then.why or "not known") if moved else "it did not"))
    named = ["the paper's claim", f"at {COMMIT}", "now", "why it moved"]
    return pd.DataFrame(rows, columns=named)
