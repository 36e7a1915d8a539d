"""Loads all that a launch needs, for the server that forks launches: it costs a second."""

import importlib
import os

# The SDK reads it when it is imported.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"

for module in (
    "alibabacloud_ecs20140526.client",
    "alibabacloud_ecs20140526.models",
    "alibabacloud_vpc20160428.client",
    "alibabacloud_vpc20160428.models",
    "generator.fleet.destroy",
    "generator.fleet.launching",
    "generator.fleet.rollout.waves",
    "tests.sandbox.chaos",
):
    importlib.import_module(module)
