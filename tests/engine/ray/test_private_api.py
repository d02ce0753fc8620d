"""What is private in ray and used all the same: these fail when a new version changes it."""

import numpy as np
import pyarrow as pa
import pytest


def test_the_columns_of_a_block():
    from xal.engine.ray.private import block_columns

    columns = block_columns(pa.table({"id": ["a", "b"], "row": [3, 4]}))
    np.testing.assert_array_equal(columns["row"], [3, 4])
    assert columns["id"].tolist() == ["a", "b"]


@pytest.mark.ray
def test_callbacks_of_a_restored_search_and_the_trials_behind_its_results(ray_session, tmp_path):
    from ray import tune

    from xal.engine.ray.private import set_callbacks, trials_of

    def trial(settings):
        tune.report({"value": settings["x"]})

    class Count(tune.Callback):
        ended = 0

        def on_trial_complete(self, iteration, trials, trial, **info):
            Count.ended += 1

    run = tune.RunConfig(name="tune", storage_path=str(tmp_path), verbose=0)
    tuner = tune.Tuner(trial, param_space={"x": tune.grid_search([1, 2])}, run_config=run)
    set_callbacks(tuner, [Count()])
    results = tuner.fit()
    assert Count.ended == 2
    assert sorted(trial.config["x"] for trial in trials_of(results)) == [1, 2]
    assert all(trial.is_finished() for trial in trials_of(results))


def test_directories_of_a_session_are_private(tmp_path):
    import ray._common.utils as utils

    from xal.engine.ray.private import private_directories

    with private_directories():
        utils.try_to_create_directory(str(tmp_path / "sockets"))
    assert (tmp_path / "sockets").stat().st_mode & 0o777 == 0o700
