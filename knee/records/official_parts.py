"""Names that the makers of data sets give to the folders of their subsets."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

WORDS: Final = {  # without accents, in lower case
    "train": (
        *("train", "training", "trainset", "trainingset", "traindata", "trainingdata", "trn"),
        *("entrainement", "apprentissage", "entrenamiento", "treino", "treinamento"),
        *("addestramento", "训练集", "训练", "訓練", "훈련", "обучение", "обучающая"),
    ),
    "val": (
        *("val", "valid", "validation", "valset", "validset", "validationset", "dev", "devset"),
        *("validierung", "validacion", "validacao", "validazione"),
        *("验证集", "验证", "検証", "검증", "валидация"),
    ),
    "test": (
        *("test", "testing", "testset", "testingset", "testdata", "tst", "eval", "evaluation"),
        *("holdout", "heldout", "prueba", "teste", "测试集", "测试", "テスト", "테스트", "тест"),
    ),
}
PARTS: Final = {word: part for part, words in WORDS.items() for word in words}


def part_of(folder: str) -> str:
    """Return the subset that a folder's name tells: train, val, test, or "" for none.

    "Train", "2_validation", "auto_test", "testSet" and "hold-out" tell one.
    """
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", folder) if not unicodedata.combining(c)
    )
    plain = unicodedata.normalize("NFC", plain)
    words = [word.casefold() for word in re.findall(r"[A-Z]*[^\W\d_A-Z]+|[A-Z]+", plain)]
    for word in (*words, "".join(words)):
        if word in PARTS:
            return PARTS[word]
    return ""
