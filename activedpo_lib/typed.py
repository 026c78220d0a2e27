"""Plain values as typed, frozen dataclasses: every key known, every type right, every number in
range.
"""

import dataclasses
import difflib
import math
import typing
from typing import Any, Literal


class ParamsError(ValueError):
    """A parameter is unknown, of the wrong type, or impossible. The message names the key, what was
    expected, and the remedy.
    """


def build(kind: Any, values: Any, where: str) -> Any:
    """`values` as the dataclass `kind`; every key known, every type right, every number in
    range.
    """
    if not isinstance(values, dict):
        raise ParamsError(f"{where or 'the parameters'}: expected a mapping, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = (
                f"; did you mean {where}{near[0]}?"
                if near
                else f"; known keys are {sorted(fields)}"
            )
            raise ParamsError(f"unknown parameter {where}{key}{hint}")
    missing = [n for n, f in fields.items() if n not in values and f.default is dataclasses.MISSING]
    if missing:
        raise ParamsError(f"missing parameter {where}{missing[0]}: it has no default")
    return kind(
        **{
            key: _typed(hints[key], fields[key], value, where + key)
            for key, value in values.items()
        }
    )


def _typed(hint: Any, spec: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where + ".")
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ParamsError(
                f"{where} must be one of {list(typing.get_args(hint))}, got {value!r}"
            )
        return value
    if typing.get_origin(hint) is tuple:
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(item, str) for item in value)
        ):
            raise ParamsError(f"{where} must be a list of names, got {value!r}")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        remedy = (
            " (YAML reads 1e-5 as text: write 1.0e-5)"
            if hint is float and isinstance(value, str)
            else ""
        )
        name = getattr(hint, "__name__", hint)
        raise ParamsError(f"{where} must be {name}, got {type(value).__name__} {value!r}{remedy}")
    return _in_range(spec, value, where)


def _in_range(spec: Any, value: Any, where: str) -> Any:
    low, high, unit = (spec.metadata.get(key) for key in ("low", "high", "unit"))
    unit = f" {unit}" if unit else ""
    if isinstance(value, float) and value != value:
        raise ParamsError(f"{where} is not a number (NaN)")
    above = spec.metadata.get("above")
    if above is not None and value <= above:
        raise ParamsError(f"{where} must be above {above:g}{unit}, got {value}")
    if low is not None and value < low:
        raise ParamsError(f"{where} must be at least {low}{unit}, got {value}")
    if high is not None and value > high:
        raise ParamsError(f"{where} must be at most {high}{unit}, got {value}")
    if isinstance(value, float) and math.isinf(value):
        raise ParamsError(f"{where} is infinite; give a number")
    return value
