"""Times, bytes and counts as a person would say them: two significant digits, the fitting unit."""

DURATIONS = (
    ("years", 365.25 * 86400),
    ("days", 86400.0),
    ("hours", 3600.0),
    ("min", 60.0),
    ("s", 1.0),
)
SIZES = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))


def two_digits(value: float) -> str:
    """`value` with two significant digits, never as a power of ten below a million: 490,000."""
    if value >= 1e6:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two, or one and a half: "90 s", "6 min"."""
    for unit, size in DURATIONS:
        if seconds >= (1.5 if unit in ("years", "hours") else 2) * size:
            return f"{two_digits(seconds / size)} {unit}"
    return "1 s" if seconds >= 0.5 else "under 1 s"


def byte_size(count: float) -> str:
    """Bytes in the largest unit of which there is one: "420 GiB"."""
    for unit, size in SIZES:
        if count >= size:
            return f"{two_digits(count / size)} {unit}"
    return f"{two_digits(count)} bytes"
