"""What a user writes: models, YAML with source positions, findings."""
