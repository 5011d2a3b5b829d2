"""Patient numbers as people and programs write them: one form of each, and what is no number.

Forms that are almost certainly one person's become one: a group that is too large costs some
images, a person on both sides of a split costs the result.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from knee.run import messages

SIDES: Final = {
    **dict.fromkeys(("l", "lt", "li", "left", "links", "gauche", "左"), "left"),
    **dict.fromkeys(("r", "rt", "re", "right", "rechts", "droit", "droite", "右"), "right"),
}
# What is written in place of a number. With digits ("anon 7") they are pseudonyms: patients.
WORDS: Final = """
anon anonym anonyme anonymous anonymized anonymised anonymise anonymisee anonymisiert anonimo
anonima anonimizado anonimizada anonimizzato pseudonym pseudonymized pseudonymised pseudonymisiert
deidentified deidentifiziert desidentifie removed entfernt supprime eliminado rimosso deleted
geloscht geloescht efface borrado redacted masked hidden blinded verblindet confidential vertraulich
confidentiel confidencial withheld blank empty leer vide vacio vuoto missing fehlt fehlend manquant
undefined unspecified unassigned unknown unbekannt inconnu inconnue desconocido desconocida
desconhecido sconosciuto none null nil nan na notavailable notapplicable notknown notgiven noname
noid nopatient nichtbekannt keineangabe sinnombre sansnom default dummy example sample test tester
phantom nobody niemand patient patientin paziente paciente subject proband name nombre x
匿名 匿名化 未知 不明 不详 不詳 无 無 なし 无名 無名 测试 測試 テスト 患者 病人 姓名 已删除 脱敏
익명 미상 환자 테스트 аноним анонимный анонимизирован неизвестно неизвестен нет пациент тест
"""
TAILS: Final = "id name number nummer nr"  # of such a word: "patient id", "test name"
# 1.23E+05: what a spreadsheet program shows of a long number in a narrow column, and may save.
SCIENTIFIC: Final = re.compile(r"\d([.,]\d+)?e[+-]\d{1,3}")
LISTED_ROWS: Final = 5  # in one remark


def unified(text: str) -> str:
    """Return `text` in small letters and ASCII digits, without needless blanks and ".0"."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(str(unicodedata.decimal(letter, letter)) for letter in text)
    return re.sub(r"^(\d+)[.,]0{1,2}$", r"\1", " ".join(messages.printable(text, " ").split()))


def canonical(text: str) -> str:
    """Return the form that all ways to write one person's number have in common.

    It has no side of a knee, no leading zeros, and no blanks or signs between letters and a number:
    "p7" of P007, "P-7" and "p 0007_L"; "7" of 7.0 and 007.
    """
    text = SIDE.sub(" ", unified(text)).strip(" _-.,;:/#()[]^")
    text = re.sub(r"(?<=[^\W\d_])[\W_]+(?=\d)", "", " ".join(text.split()))
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", text)


def is_placeholder(text: str, *, from_zero: bool = False) -> bool:
    """Return whether `text` tells nobody: "ANONYMOUS^PATIENT", 000000, -1, "REDACTED", 1.23E+05.

    `from_zero`: patients may be counted from 0, so that a single 0 is one.
    """
    text = unified(text)
    if text == "0":
        return not from_zero
    if re.fullmatch(r"-\d+", text) or SCIENTIFIC.fullmatch(text) or not canonical(text):
        return True
    return bool(PLACEHOLDER.fullmatch(_letters(text)))


def remarks(numbers: Iterable[tuple[int, str]]) -> list[str]:
    """Return what a person should know of a sheet's numbers, given with their rows; quote none."""
    ways: dict[str, dict[str, int]] = {}
    nobody: list[int] = []
    scientific: list[int] = []
    for row, text in numbers:
        if SCIENTIFIC.fullmatch(unified(text)):
            scientific.append(row)
        elif is_placeholder(text, from_zero=True):
            nobody.append(row)
        else:
            ways.setdefault(canonical(text), {}).setdefault(text, row)
    several = [list(rows.values())[:2] for rows in ways.values() if len(rows) > 1]
    said = []
    if several:
        said.append(
            f"patient numbers that differ only in zeros, letter case, signs or a side are one "
            f"patient: {len(several)}, for example in rows {several[0][0]} and {several[0][1]}; "
            "if they are two persons, change the number of one"
        )
    if nobody:
        said.append(f"{_in_rows(nobody)} is a placeholder: patient unknown")
    if scientific:
        said.append(
            f"{_in_rows(scientific)} is in scientific notation (1.23E+05) and has lost digits: "
            "patient unknown; format the column as text or a whole number, and save the sheet again"
        )
    return said


def _in_rows(rows: Sequence[int]) -> str:
    return f"the patient number in row{'s' * (len(rows) > 1)} {messages.listed(rows, LISTED_ROWS)}"


def _letters(text: str) -> str:
    """Letters and digits of `text`, small and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


def _any_of(words: str) -> str:
    return f"({'|'.join(map(_letters, words.split()))})"


SIDE: Final = re.compile(rf"(?<![^\W\d_])({'|'.join(SIDES)})(?![^\W\d_])")
PLACEHOLDER: Final = re.compile(rf"[0x]*|9{{5,}}|({_any_of(WORDS)}{_any_of(TAILS)}*)+")
