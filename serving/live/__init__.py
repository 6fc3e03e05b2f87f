"""The live service: the rows of a request in; scores, reasons, and what changed out."""
