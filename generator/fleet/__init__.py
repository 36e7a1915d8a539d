"""From a fleet spec to instances that answer on many EIPs: what is wanted, what is there, and the way between."""
