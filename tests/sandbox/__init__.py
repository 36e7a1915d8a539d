"""The real SDK and the real Packer against an API on this machine."""
