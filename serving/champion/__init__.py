"""The champion in use: fetched by a child process, checked, swapped in whole."""
