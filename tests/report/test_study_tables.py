"""Tables of a study: thirds, labels saved, forecasts that held."""

import numpy as np

from xal.report.study_tables import forecast_row, saved_rows, thirds_header, thirds_rows

LABELS = list(range(20, 340, 20))  # round 0 and 15 rounds


def curves(seeds: int = 4, n_test: int = 1000):
    """`early` gains in the first third alone, `random` is a power law; accuracies measured on n_test items."""
    generator = np.random.default_rng(0)
    made: dict[str, dict[int, tuple[list[int], list[float]]]] = {"random": {}, "early": {}}
    for seed in range(seeds):
        p = 0.9 - 1.5 * np.array(LABELS, float) ** -0.5
        for arm in made:
            gain = np.where(np.arange(16) < 6, 0.1, 0.0) * (arm == "early")
            measured = generator.binomial(n_test, p + gain) / n_test
            made[arm][seed] = LABELS, measured.tolist()
    return made


def test_thirds_are_paired_and_bold_where_the_whole_interval_is_above() -> None:
    given = curves()
    rows = thirds_rows(given, ("random",))
    assert thirds_header(("random",)) == ["arm", *(f"{n} third against random" for n in ("first", "middle", "last"))]
    assert [row[0] for row in rows] == ["early", "random"] and rows[1][1:] == ["", "", ""]
    first = [np.mean(given["early"][s][1][1:6]) - np.mean(given["random"][s][1][1:6]) for s in range(4)]
    assert rows[0][1].startswith(f"**{np.mean(first):+.4f} ± ") and not rows[0][3].startswith("**")


def test_too_few_rounds_or_unknown_test_sizes_say_nothing() -> None:
    short = {arm: {0: ([10, 20], [0.5, 0.6])} for arm in ("a", "random")}
    assert thirds_rows(short, ("random",)) == [["a", "", "", ""], ["random", "", "", ""]]
    assert forecast_row("made up", curves(), None) is None


def test_labels_saved() -> None:
    ((arm, text),) = saved_rows(curves(), "random")
    assert arm == "early" and text


def test_forecasts_are_compared_with_what_came() -> None:
    row = forecast_row("made up", {"random": curves()["random"]}, 1000)
    assert row is not None
    title, count, held, width, error = row
    assert title == "made up" and int(count) == 4 * 7  # from the fifth round to the last with 100 labels to come
    assert int(held[:-1]) >= 85 and 0 < float(error) < float(width)
    assert forecast_row("short", {"random": {0: (LABELS[:5], [0.5] * 5)}}, 1000) is None
