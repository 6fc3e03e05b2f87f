"""Dated facts: who is who at an instant, what was known of their deals, who is scored then."""
