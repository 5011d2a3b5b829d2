import pytest

from knee.run.messages import escaped, listed, printable, quoted, shortened


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
