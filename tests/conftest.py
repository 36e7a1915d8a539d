"""What every test needs: no credential provider may look for an ECS metadata service on this machine."""

from __future__ import annotations

import os

# The SDK reads it when it is imported.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
