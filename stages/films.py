r"""Make images of your own the project's data: write conf/data/mine.yaml, and params.yaml from it.

python -m stages.films --data FOLDER [--sheet SHEET.csv] [--weights imagenet|none|FOLDER]
    [--locate knees|none]

`make films DATA=FOLDER` does it and then runs the pipeline. What is not given stays as it is in
conf/data/mine.yaml, where you also say what file names tell (docs/data.md): edit it and run `make
films` again. Everything is checked first; after a mistake nothing has changed.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from knee.health import before_run
from knee.run import command, overrides, parameters
from knee.run.errors import UserError
from knee.storage import artifacts

CONF: Final = Path("conf")
MINE: Final = "data/mine.yaml"
TEMPLATE: Final = "data/folder.yaml"
HEAD: Final = """\
# @package _global_
# Images of your own, written by `make films`: edit it, run `make films` again, and commit it.
"""
log = logging.getLogger(__name__)


def run(given: Mapping[str, str], conf: Path, params: Path, locate: str | None = None) -> int:
    """Write conf/data/mine.yaml, make it the default of conf/config.yaml, and compose `params`.

    `locate` becomes the default of its group; None leaves that as it is.
    """
    mine = conf / MINE
    if not mine.exists() and "path" not in given:
        raise UserError("give the folder or archive of your images: make films DATA=/path/to/films")
    text = (mine if mine.exists() else conf / TEMPLATE).read_text(encoding="utf-8")
    text = _filled(text if mine.exists() else _own(text), given)
    with tempfile.TemporaryDirectory() as trial:
        copy = Path(shutil.copytree(conf, Path(trial) / "conf"))
        (copy / MINE).write_text(text, encoding="utf-8")
        chosen = ["data=mine", *([f"locate={locate}"] if locate else [])]
        settings = overrides.checked(copy, chosen)
    before_run.check(settings)
    before_run.check_downloads(settings)
    artifacts.write_text(mine, text)
    config = (conf / "config.yaml").read_text(encoding="utf-8")
    for choice in chosen:
        group, _, name = choice.partition("=")
        config = re.sub(rf"^  - {group}: .*$", f"  - {group}: {name}", config, flags=re.MULTILINE)
    artifacts.write_text(conf / "config.yaml", config)
    parameters.compose(conf, params)
    data = settings.data
    log.info("%s: images %s, sheet %s, weights %s", mine, data.path, data.sheet, settings.weights)
    if settings.locate.locators:
        log.info("whole films: each is cut into its knees first; look at data/knees/films.png")
    return 0


def _own(template: str) -> str:
    """The template of a folder of images as a file of its own; weights are ImageNet's."""
    body = template[template.index("data:\n") :].replace("  name: folder\n", "  name: mine\n")
    return f"{HEAD}{body}\nweights: imagenet # none | imagenet | a folder with <backbone>.h5\n"


def _filled(text: str, given: Mapping[str, str]) -> str:
    """`text` with other values of these keys, each on a line of its own."""
    for key, value in given.items():
        line = re.search(rf"^ *{key}:(.*)$", text, re.MULTILINE)
        if line is None:
            raise UserError(f"conf/{MINE} has no line `{key}: ...`: add it, or remove the file")
        text = (
            f"{text[: line.start(1)]} {json.dumps(value, ensure_ascii=False)}{text[line.end() :]}"
        )
    return text


def _absolute(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _weights(text: str) -> str:
    return text if text in ("none", "imagenet") else _absolute(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    kept = "default: what conf/data/mine.yaml has"
    parser.add_argument(
        "--data",
        type=_absolute,
        dest="path",
        metavar="FOLDER",
        help=f"folder of class folders or archive of one; {kept}",
    )
    parser.add_argument(
        "--sheet",
        type=_absolute,
        metavar="FILE",
        help=f"CSV or .xlsx with a column path and labels; {kept}, at first none",
    )
    parser.add_argument(
        "--weights",
        type=_weights,
        metavar="imagenet|none|FOLDER",
        help=f"the backbones begin with; a FOLDER has mobilenet.h5 and xception.h5; {kept}, at "
        "first imagenet, which Keras downloads",
    )
    parser.add_argument(
        "--locate",
        choices=("knees", "none"),
        help="knees: the images are whole films, and each is cut into its knees first; default: "
        "what conf/config.yaml has, at first none",
    )
    given = vars(parser.parse_args(argv))
    params, locate = given.pop("params"), given.pop("locate")
    filled = {key: value for key, value in given.items() if value is not None}
    return command.exit_status("films", lambda: run(filled, CONF, params, locate))


if __name__ == "__main__":
    raise SystemExit(main())
