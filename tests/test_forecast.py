from dataclasses import replace

import numpy as np
import pytest
from replay_cases import drawn_replay

from training.cutoffs.forecast import LARGEST_GROWTH, Outlook, Trend

PAST = drawn_replay(np.random.default_rng(5))
CUTOFF = 0.3


def outlook(arrivals):
    return Outlook(PAST, Trend.of(np.asarray(arrivals)))


def test_level_arrivals_forecast_what_the_newest_weeks_brought():
    counted = len(PAST.mqls(CUTOFF)) / PAST.weeks
    assert outlook([100] * 39).forecast(CUTOFF).value == pytest.approx(counted)


def test_chance_does_not_pass_for_growth():
    random = np.random.default_rng(3)
    growths = [outlook(random.poisson(40, 39)).growth for _ in range(200)]
    assert np.mean(np.array(growths) == 1.0) > 0.5
    assert np.quantile(np.abs(np.log(growths)), 0.9) < 0.1


def test_growing_arrivals_are_drawn_on_and_wild_growth_is_not():
    weeks = np.arange(40)
    slowly = outlook(np.round(200 * np.exp(0.005 * weeks)))
    assert slowly.growth == pytest.approx(np.exp(0.005 * slowly.distance), abs=0.02)
    wildly = outlook(np.round(50 * np.exp(0.1 * weeks)))
    assert wildly.growth == pytest.approx(np.exp(LARGEST_GROWTH))


def test_months_that_differ_widen_the_forecast():
    months = np.repeat(np.random.default_rng(0).normal(400, 120, 10), 4)
    steady, moving = (outlook(found).forecast(CUTOFF) for found in ([400] * 40, months))
    assert moving.high / moving.low > 1.3 * steady.high / steady.low


def test_without_an_mql_something_may_still_come():
    forecast = outlook([100] * 39).forecast(1.0)
    assert (forecast.value, forecast.low) == (0.0, 0.0)
    assert forecast.high > 0


def test_few_weeks_have_no_trend():
    assert Trend.of(np.array([1, 5, 20, 50])) == Trend(0.0, 0.0, 0.0)


def test_the_mean_of_the_coming_weeks_lies_in_nine_of_ten_forecasts():
    held = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        past, recent, ahead = (
            drawn_replay(random, accounts=12 * weeks, weeks=weeks) for weeks in (26, 13, 13)
        )
        forecast = Outlook.of(past, recent).forecast(CUTOFF)
        came = len(ahead.mqls(CUTOFF)) / ahead.weeks
        held.append(forecast.low <= came <= forecast.high)
    assert 0.85 <= np.mean(held) <= 1.0


def test_the_newest_weeks_are_where_mqls_are_counted():
    recent = drawn_replay(np.random.default_rng(6), accounts=300, weeks=13)
    found = Outlook.of(PAST, recent)
    assert found.newest is recent
    still = replace(found, trend=Trend(0.0, 0.0, 0.0))
    assert still.forecast(CUTOFF).value == len(recent.mqls(CUTOFF)) / 13
