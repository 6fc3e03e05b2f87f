"""Labels, folds, LightGBM, calibration, cutoff, replay, tracking, and the simulated CRM."""
