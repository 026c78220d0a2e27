"""What this project's first laboratory said of the paper's claims: at the commit COMMIT, whose
figures/ and README hold its tables. It labelled 40 of 360 pairs a round, where now 10 are, and
there a quarter of the labels gave the same reward.
"""

from pathlib import Path

import pandas as pd

from activedpo_lib.study.claims import all_claims
from activedpo_lib.study.findings import COMMITTED

COMMIT = "ca97d54"
RULINGS = {
    "ActiveDPO gives higher rewards than Random everywhere": "does not",
    "ActiveDPO gives higher win-rates than Random everywhere": "does not",
    "APLP does well on Gemma, worse than Random on Llama-2": "mixed",
    "Different models need different data (interaction)": "mixed",
    "Normalising helps on WebGPT and changes little on TL;DR": "does not",
    "Without normalisation, short responses are favoured": "does not",
    "Fewer dimensions are worse": "not established",
    "More than the default do not help": "not established",
    "Uncertainty rises with the reward's error (what Prop. 1 is used for)": "holds",
}


def then_and_now(folder: Path | str = COMMITTED) -> pd.DataFrame:
    """A row a claim of the paper: its ruling at COMMIT, and by the tables of `folder`."""
    now = {claim: found for claim, _, _, found in all_claims(folder)}
    rows = [(claim, then, now[claim]) for claim, then in RULINGS.items()]
    return pd.DataFrame(rows, columns=["the paper's claim", f"at {COMMIT}", "now"])
