"""What is wrong with a parameter, in words: its key, the value, what is allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def keys(schema: Schema) -> dict[str, Schema]:
    """Dotted keys of the JSON schema of all parameters, sections too, each with its own schema.

    NAME stands for the names in a mapping of sections.
    """

    def walk(part: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
        for name, own in part["properties"].items():
            yield prefix + name, own
            inner = own.get("additionalProperties", own)
            if "$ref" in inner:
                section = schema["$defs"][inner["$ref"].rsplit("/", 1)[-1]]
                yield from walk(section, f"{prefix}{name}." + "NAME." * (inner is not own))

    return dict(walk(schema, ""))


def allowed(schema: Schema) -> str:
    """What a value may be, such as "a whole number (at least 1, at most 100)"."""
    if "anyOf" in schema:
        return " or ".join(allowed(one).removeprefix("one of ") for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(schema.get("enum") or [schema["const"]])
    if schema.get("type") == "array":
        listed = f"a list of {allowed(schema['items']).removeprefix('one of ')}"
        return listed + " (at least one)" * ("minItems" in schema)
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    kind = {**kinds, "string": "text"}.get(schema.get("type", ""), "a mapping")
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "minLength": "characters: at least",
    }
    limits = [f"{word} {schema[bound]}" for bound, word in words.items() if bound in schema]
    return f"{kind} ({', '.join(limits)})" if limits else kind


def in_words(error: Mapping[str, Any], known: Mapping[str, Schema]) -> str:
    """Return an entry of pydantic's `ValidationError.errors()` as a line; `known` is of `keys`."""
    loc = error["loc"][:-2] if error["loc"][-1:] == ("[key]",) else error["loc"]
    names = [part for part in loc if isinstance(part, str)]
    if _general(".".join(names[:-1])) in known and "anyOf" in known[_general(".".join(names[:-1]))]:
        names.pop()  # which type of several
    key, value = ".".join(names), error["input"]
    if error["type"] == "missing":
        return f"missing key {key}"
    if error["type"] == "unexpected_keyword_argument":
        return unknown(key, known)
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
        if isinstance(value, dict):  # of several keys together
            return f"{key}.{reason}" if key else reason
        return f"{key}: {value!r} {reason}"
    schema = known.get(_general(key), {})
    if error["loc"] and isinstance(error["loc"][-1], int):  # an entry of a list
        schema = schema["items"]
    wanted = f"is not {allowed(schema)}".replace("is not one of", "is none of")
    return f"{key or 'params.yaml'}: {value!r} {wanted}{_hint(schema, value)}"


def _general(key: str) -> str:
    return re.sub(r"^cross_validate\.heads\.[^.]+", "cross_validate.heads.NAME", key)


def unknown(key: str, known: Mapping[str, Schema]) -> str:
    """Return what is wrong with a key that there is not, and the nearest one.

    It is one of the same section, else any.
    """
    section, _, name = _general(key).rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in known if one.rpartition(".")[0] == section}
    anywhere = {one.rpartition(".")[2]: one for one in known}
    for places in (beside, anywhere):
        if near := difflib.get_close_matches(name, places, 1) or _abbreviated(name, places):
            return f"unknown key {key}: did you mean {places[near[0]]}?"
    return f"unknown key {key}; known: {', '.join(beside)}"


def _abbreviated(name: str, names: Iterable[str]) -> list[str]:
    """The names that `name` is the initials or a part of: lr, rate -> learning_rate."""
    initials = {one: "".join(word[:1] for word in one.split("_")) for one in names}
    return [one for one in names if name and (initials[one] == name or f"_{name}_" in f"_{one}_")]


def _hint(schema: Schema, value: Any) -> str:
    """How a number that YAML takes for text has to be written."""
    kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
    if not kinds & {"integer", "number"} or not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f": write {number:.15g}" if math.isfinite(number) else ""
