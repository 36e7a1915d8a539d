"""What says where rendered files come from: the digest of the spec."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.spec.model import Model


def digest(spec: Model) -> str:
    """Return the SHA-256 of the validated spec: the same for the same meaning, however the YAML is written."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
