"""Rolling a fleet forward: instances are replaced in waves, and their EIPs stay."""
