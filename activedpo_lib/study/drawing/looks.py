"""How each strategy is drawn and called. Okabe and Ito's colours for the paper's four, Paul Tol's
for the rest: told apart with any colour vision.
"""

LOOKS = {
    "random": ("Random", "#000000", "o"),
    "apo": ("APO", "#009E73", "s"),
    "aplp": ("APLP", "#E69F00", "^"),
    "activedpo": ("ActiveDPO", "#0072B2", "D"),
    "entropy": ("entropy", "#CC6677", "v"),
    "margin": ("margin", "#332288", "<"),
    "certainty": ("certainty", "#DDCC77", ">"),
    "gradient_norm": ("gradient norm", "#44AA99", "h"),
    "frozen_v": ("V fixed in the batch", "#88CCEE", "d"),
    "d_optimal": ("D-optimal", "#882255", "p"),
    "k_center": ("k-center", "#999933", "X"),
    "transductive": ("transductive", "#AA4499", "*"),
    "predicted_gap": ("predicted gap", "#661100", "8"),
    "bald": ("BALD", "#6699CC", "H"),
    "epig": ("EPIG", "#DDAA33", "$G$"),
    "bal_pm": ("BAL-PM", "#004488", "$B$"),
    "upper_confidence_gap": ("upper-confidence gap", "#117733", "$U$"),
    "max_min_lcb": ("MaxMinLCB", "#888888", "$M$"),
    "double_thompson": ("double Thompson", "#AA4466", "$T$"),
    "reversed_thompson": ("reversed Thompson", "#4477AA", "$R$"),
    "novel_gap": ("novel gap", "#EE6677", "$N$"),
    "predicted_improvement": ("predicted improvement", "#CCBB44", "$I$"),
    "improve_and_explore": ("improve and explore", "#66CCEE", "$E$"),
    "improvement_thompson": ("improvement, Thompson", "#BBBBBB", "$S$"),
}  # strategy: what figures call it, its colour, its marker
LABELS = {name: look[0] for name, look in LOOKS.items()}
COLOURS = {name: look[1] for name, look in LOOKS.items()}
MARKERS = {name: look[2] for name, look in LOOKS.items()}
