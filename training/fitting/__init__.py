"""One fit of the recipe: folds, boosters, calibration, and what it must beat."""
