"""A region on this machine: the other side of the wire, so nothing here imports `generator.cloud`."""
