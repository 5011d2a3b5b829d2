"""Fingerprints are those of the bytes; keys change with what decides a training, and only so."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.storage import provenance

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.text("abcdef_", min_size=1, max_size=6)
NESTED = st.recursive(
    st.dictionaries(NAMES, SCALARS, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, SCALARS | inner, min_size=1, max_size=3),
    max_leaves=8,
)


def leaves(values: dict[str, Any]) -> list[Any]:
    return [
        leaf
        for value in values.values()
        for leaf in (leaves(value) if isinstance(value, dict) else [value])
    ]


@pytest.mark.parametrize("content", [b"", b"films", bytes(300_000)])
def test_a_fingerprint_is_the_sha256_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert provenance.fingerprint(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@given(NESTED)
def test_a_key_is_16_hexadecimal_digits_whatever_the_order(facts: dict[str, Any]) -> None:
    key = provenance.key(facts)
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert provenance.key(dict(reversed(facts.items()))) == key


@given(NESTED, NESTED)
def test_other_facts_give_another_key(one: dict[str, Any], two: dict[str, Any]) -> None:
    same_text = repr(sorted(provenance.flatten(one).items(), key=repr)) == repr(
        sorted(provenance.flatten(two).items(), key=repr)
    )
    assert (provenance.key(one) == provenance.key(two)) == same_text


@given(NESTED)
def test_flattening_keeps_every_value_under_a_dotted_name(values: dict[str, Any]) -> None:
    flat = provenance.flatten(values)
    assert list(flat.values()) == leaves(values)
    for name, value in flat.items():
        found: Any = values
        for part in name.split("."):
            found = found[part]
        assert found == value
