"""All that a launch loads, for the server that forks launches: importing it costs a second."""

import os

# The SDK reads it when it is imported.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"

import alibabacloud_ecs20140526.client  # noqa: E402
import alibabacloud_ecs20140526.models  # noqa: E402
import alibabacloud_vpc20160428.client  # noqa: E402
import alibabacloud_vpc20160428.models  # noqa: E402
import dbos  # noqa: E402

import generator.fleet.destroy  # noqa: E402
import generator.fleet.launch  # noqa: E402
import generator.fleet.launching  # noqa: E402
import tests.sandbox.chaos  # noqa: E402, F401
