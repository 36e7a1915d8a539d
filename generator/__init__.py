"""multieip: golden images and fleets of ECS instances that answer on many EIPs each."""

__version__ = "0.1.0"
