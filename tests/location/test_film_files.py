"""Films that are cut: which of them are shown."""

from __future__ import annotations

import numpy as np

from knee.location import film_files


def test_only_the_films_of_the_picture_keep_their_pixels_and_late_ones_are_among_them() -> None:
    pixels = np.zeros((1, 1), np.uint8)
    films = [film_files.CutFilm({}, [], pixels if number % 2 else None) for number in range(1000)]
    kept = [n for n, film in enumerate(film_files.few_shown(films)) if film.shown is not None]
    assert len(kept) == film_files.SHOWN_FILMS
    assert all(number % 2 for number in kept)
    assert 0.3 < np.mean(np.array(kept) > 500) < 0.7
    few = film_files.few_shown(films[: film_files.SHOWN_FILMS])
    assert sum(film.shown is not None for film in few) == film_files.SHOWN_FILMS / 2
