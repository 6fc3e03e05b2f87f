"""What people read: the report, its pictures, the lines printed at the end of a run."""
