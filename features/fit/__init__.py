"""Engineered fit: what e-mail domains, job titles and numbers of employees tell."""
