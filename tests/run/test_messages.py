import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from knee.run.messages import escaped, listed, override, printable, quoted, shortened


@pytest.mark.parametrize("text", ["", "abc", "abcde"])
def test_a_short_text_stays_as_it_is(text: str) -> None:
    assert shortened(text, 5) == text


def test_a_long_text_ends_with_an_ellipsis_within_its_bound() -> None:
    assert shortened("abcdef", 5) == "abcd…"


def test_control_characters_never_reach_a_message() -> None:
    assert printable("a\n\x1b[1mb") == "a??[1mb"
    assert quoted("a\n\x1b\u202eb").isprintable()


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    assert listed("abc") == "a, b, c"
    assert listed(range(5), most=2) == "0, 1 and 3 more"
    assert listed(["a", "b"], total=7) == "a, b and 5 more"


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    assert escaped("kn\udce9e\u6b63.png") == "kn\\xe9e\u6b63.png"


@pytest.mark.parametrize(
    "names",
    [
        ["train", "val_2", "a.b-c", "0", "10"],
        ["0 Normal", "1 Mild"],
        ["Grade 0 (none)", "Grade 1, mild", "a: b", "[x]"],
        ["null", "True", "no", "1.5", "1e3"],
        ["\u6b63\u5e38", "Ost\u00e9op\u00e9nie"],
        ["patient's", 'a "b"', "$HOME", "`ls`"],
    ],
)
def test_a_shell_and_hydra_read_an_override_as_it_is_meant(names: list[str]) -> None:
    script = f'set -- {override("data.classes", names)}; printf %s "$2"'
    word = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True).stdout
    value = OverridesParser.create().parse_override(word).value()
    assert [str(getattr(one, "text", one)) for one in value] == names
