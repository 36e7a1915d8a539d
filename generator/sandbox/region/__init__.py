"""The state of an account's regions: frozen records by id, transitions by the clock, kept in a file."""
