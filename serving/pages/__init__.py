"""Pages for sales: the ranked list of leads, and a page per lead."""
