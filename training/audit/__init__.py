"""The leakage audit: which columns know what nobody knew yet."""
