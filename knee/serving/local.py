"""The server of a trained model of this project: its command line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from knee.prediction import request_images, synthetic_model
from knee.prediction.answers import Answers
from knee.run import command
from knee.serving import listening, loading
from knee.serving.application import application
from knee.serving.listening import Listening

log = logging.getLogger(__name__)


def main(name: str, description: str | None, port: int, argv: Sequence[str] | None = None) -> int:
    """Parse the command line of `name`, and serve the model that it names until told to end."""
    parser = command.parser(description)
    loading.add_model_flags(parser)
    listening.add_flags(parser, port)
    chosen = parser.parse_args(argv)

    def work() -> int:
        model = loading.champion_unless_named(chosen.model, chosen.params)
        serve(model, Listening.chosen(chosen), synthetic_model_ok=chosen.synthetic_model_ok)
        return 0

    with listening.ended_by_signal():
        return command.exit_status(name, work)


def serve(model: str, place: Listening, *, synthetic_model_ok: bool = False) -> None:
    """Serve `model`, a name as `loading.trained_model` takes it, until the process is to end.

    Raises:
        AddressError: the address cannot be listened on; told before the model is loaded.
        TokenError: likewise of the token's file.
    """
    with place.bound() as bound:
        access = place.access(bound)
        log.info("loading %s", model)
        with loading.trained_model(model, request_images.MEGAPIXELS) as trained:
            if beginning := synthetic_model.warning(trained.training):
                command.alarm(beginning)
            made = Answers(trained, loading.cache(), synthetic_model_ok=synthetic_model_ok)
            with contextlib.closing(made) as answers:
                log.info("its page for images: %s", place.page)
                listening.run(application(answers, access), bound)
