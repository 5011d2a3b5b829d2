"""Promotion by a person, from its command line."""

from __future__ import annotations

from typing import NoReturn

import pytest

from stages import promote


@pytest.mark.parametrize("error", [KeyError, OSError])  # before and from Python 3.13
def test_it_works_in_a_container_whose_user_has_no_name(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nameless() -> NoReturn:
        raise error("no entry for this user")

    monkeypatch.setattr("getpass.getuser", nameless)
    with pytest.raises(SystemExit) as ended:
        promote.main(["--help"])
    assert ended.value.code == 0
    assert "default: user " in capsys.readouterr().out
