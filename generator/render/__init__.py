"""From a spec to files: pure, no I/O, no clock."""
