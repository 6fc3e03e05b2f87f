import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Calibration

quick = settings(max_examples=100, deadline=None, derandomize=True)
steps = st.floats(0.01, 3)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    size = draw(st.integers(1, 6))
    raw = draw(st.floats(-5, 5)) + np.cumsum(draw(st.lists(steps, min_size=size, max_size=size)))
    height = draw(st.floats(-5, 5)) + np.cumsum(draw(st.lists(steps, min_size=size, max_size=size)))
    return Calibration(tuple(raw), tuple(height), draw(steps), draw(steps))


@quick
@given(calibrations(), st.lists(st.floats(allow_nan=False), min_size=2, max_size=30))
def test_calibration_is_finite_and_keeps_the_ranking(
    calibration: Calibration, raw: list[float]
) -> None:
    ordered = np.sort(np.array(raw))
    calibrated = calibration.apply(ordered)
    assert np.isfinite(calibrated).all()
    assert (np.diff(calibrated) >= 0).all()
    # Scores that differ by more than rounding differ afterwards too.
    near = np.clip(ordered, -1e5, 1e5)  # two infinities have no difference
    apart = (np.diff(near) > 1e-6) & (np.abs(near[:-1]) < 1e5) & (np.abs(near[1:]) < 1e5)
    assert (np.diff(calibrated)[apart] > 0).all()
    probability = calibration.probability(ordered)
    assert ((probability >= 0) & (probability <= 1)).all()


@quick
@given(calibrations(), st.lists(st.floats(-20, 20), min_size=1, max_size=30))
def test_it_is_the_line_through_its_knots_that_goes_straight_on(
    calibration: Calibration, raw: list[float]
) -> None:
    first, last = calibration.raw[0], calibration.raw[-1]
    x = [first - 100, *calibration.raw, last + 100]
    y = [
        calibration.calibrated[0] - 100 * calibration.slope_below,
        *calibration.calibrated,
        calibration.calibrated[-1] + 100 * calibration.slope_above,
    ]
    np.testing.assert_allclose(calibration.apply(raw), np.interp(raw, x, y), rtol=0, atol=1e-9)


def test_the_identity_changes_no_bit() -> None:
    raw = np.random.default_rng(0).normal(0, 5, 1_000)
    np.testing.assert_array_equal(Calibration.identity().apply(raw), raw)


def test_shape_and_missing_scores_are_kept() -> None:
    calibrated = Calibration.affine(2, 1).apply([[0.0, np.nan]])
    np.testing.assert_array_equal(calibrated, [[1.0, np.nan]])


@pytest.mark.parametrize(
    "parameters",
    [
        ((0.0, 1.0), (1.0, 1.0), 1.0, 1.0),  # flat
        ((0.0, 1.0), (1.0, 0.5), 1.0, 1.0),  # falling
        ((1.0, 1.0), (0.0, 1.0), 1.0, 1.0),  # a jump
        ((0.0,), (0.0,), 0.0, 1.0),  # flat below the knot
        ((0.0,), (0.0,), 1.0, -1.0),
        ((0.0,), (np.inf,), 1.0, 1.0),
        ((np.nan,), (0.0,), 1.0, 1.0),
        ((), (), 1.0, 1.0),
        ((0.0, 1.0), (0.0,), 1.0, 1.0),
    ],
)
def test_a_map_that_is_not_strictly_increasing_and_finite_is_refused(
    parameters: tuple[tuple[float, ...], tuple[float, ...], float, float],
) -> None:
    with pytest.raises(ValueError, match="a calibration"):
        Calibration(*parameters)
