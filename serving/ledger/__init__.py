"""Every score with what it was made of, MQL moments, sales' answers and the API's keys."""
