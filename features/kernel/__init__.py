"""One pass over each timeline: everything about events, for one lead and for millions."""
