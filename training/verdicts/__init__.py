"""Sales' verdicts as data: reported, told to the boosters by config, and tested by exploration."""
