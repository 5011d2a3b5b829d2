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

LEFT: Final = (
    "l lt li left links gauche izq izquierda izquierdo sinistra sinistro sx esquerda esquerdo"
)
RIGHT: Final = (
    "r rt re right rechts droit droite der derecha derecho destra destro dx direita direito"
)
SIDES: Final = {
    **dict.fromkeys((*LEFT.split(), "лев", "левая", "левое", "левый", "左", "좌"), "left"),
    **dict.fromkeys((*RIGHT.split(), "прав", "правая", "правое", "правый", "右", "우"), "right"),
}
KNEES: Final = "knees?|knie|genou|rodilla|ginocchio|joelho|колено|膝|膝关节|膝蓋|무릎"
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
THOUSANDS: Final = re.compile(r"\d{1,3}([-.,]\d{3})+")  # 12,345: 12345 as programs show it
LISTED_ROWS: Final = 5  # in one remark


def unified(text: str) -> str:
    """Return `text` in small letters, ASCII digits and hyphens, without extra blanks and ".0"."""
    text = "".join(map(_plain, messages.folded(text)))
    return re.sub(r"^(\d+)[.,]0{1,2}$", r"\1", " ".join(messages.printable(text, " ").split()))


def canonical(text: str) -> str:
    """Return the form that all ways to write one person's number have in common.

    It has no side of a knee, no visit, no leading zeros, no blanks or signs between letters and
    digits, and "-" for those elsewhere: "p7" of P007, "P-7", "p 0007_L" and P7_V2; "7" of 7.0,
    007 and "7 baseline"; "7a" of 7-A; "12-34" of 12_34; "12345" of 12,345.
    """
    marked = "".join(
        "-" if unicodedata.category(letter)[0] in "PSZC" and letter not in ".," else letter
        for letter in unified(text)
    )
    text = re.sub("[.,]*-[-.,]*", "-", SIDE.sub("-", marked)).strip("-.,")
    text = VISIT.sub("", text)
    text = re.sub(r"(?<=[^\d.,-])[-.,]+(?=\d)|(?<=\d)[-.,]+(?=[^\d.,-])", "", text)
    if THOUSANDS.fullmatch(text):
        text = re.sub(r"\D", "", text)
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


def side(text: str) -> str:
    """Return left or right, of "L", "left knee" and "Knie: rechts"; "" for other text."""
    plain = "".join(filter(str.isalnum, unified(text)))
    match = SIDE.fullmatch(re.sub(rf"^({KNEES})(?=.)", "", plain))
    return SIDES.get(match[2] or "", "") if match else ""


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
            "patient numbers that differ only in zeros, letter case, signs, a side or a visit are "
            f"one patient: {len(several)}, for example in rows "
            f"{several[0][0]} and {several[0][1]}; "
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


def _plain(letter: str) -> str:
    """`letter`, or the ASCII digit or hyphen that a person takes it for."""
    if unicodedata.category(letter) == "Pd" or letter == "\N{MINUS SIGN}":
        return "-"
    return str(unicodedata.decimal(letter, letter))


def _letters(text: str) -> str:
    """Letters and digits of `text`, small and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


def _any_of(words: str) -> str:
    return f"({'|'.join(map(_letters, words.split()))})"


SIDE: Final = re.compile(  # of a knee: "left", "LK", "7_left_knee", "左膝"
    rf"(?<![^\W\d_])(({'|'.join(SIDES)})(k|{KNEES})?|{KNEES})(?![^\W\d_])"
)
VISIT: Final = re.compile(  # behind a number and a sign: "-v2", "-visit-01", "-baseline"
    r"(?<=\d)-(v(?=-?\d)|visita?|visite|besuch|ses(sion)?(?=-?\d)|timepoint|baseline|bl"
    r"|follow-?up|fu|wave(?=-?\d))-?\d{0,2}$"
)
PLACEHOLDER: Final = re.compile(rf"[0x]*|9{{5,}}|({_any_of(WORDS)}{_any_of(TAILS)}*)+")
