"""The laws of the demo CRM: what happens, what of it is recorded, and what could be known."""
