"""What a sandbox was asked to be, kept in its folder: the next start goes on with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from generator.errors import MultieipError

# All public addresses of a sandbox (RFC 2544).
EIPS = "198.18.0.0/15"
# What multieip gives an endpoint on loopback for a key. Real ones must not work here, so that nobody gets used to
# giving them away.
KEYS = {"multieip-no-account": "multieip-no-account"}


@dataclass(frozen=True)
class PublicImage:
    """A system of this machine that is shown as a public image: its family, its name, its layers (`ImageStore`).

    `imds` is v2 where what boots from it knows the tokens of the metadata service.
    """

    family: str
    name: str
    layers: tuple[str, ...]
    imds: str = "v2"


@dataclass(frozen=True)
class Settings:
    """How a sandbox is made.

    `backend` runs instances: none (the API only), container or qemu. `port` 0 takes a free one at the first start and
    keeps it. `speed` is how fast its clock runs against real time.
    `throttle` counts calls as the cloud does; `eips` is the account's quota of EIPs.
    `accelerator` is what virtual machines run in, kvm or tcg.
    """

    backend: str = "container"
    port: int = 0
    region: str = "cn-hangzhou"
    seed: int = 0
    speed: float = 1.0
    throttle: bool = True
    eips: int = 20
    uplink: bool = False
    accelerator: str = "tcg"
    images: tuple[PublicImage, ...] = field(default=())


@dataclass(frozen=True)
class Home:
    """A sandbox's folder, and the names of what is in it."""

    folder: Path

    @property
    def settings(self) -> Path:
        """What it was asked to be."""
        return self.folder / "settings.json"

    @property
    def lock(self) -> Path:
        """What whoever starts it holds meanwhile."""
        return self.folder / "lock"

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.folder / "server.log"

    @property
    def socket(self) -> Path:
        """Where the server answers the command line."""
        return self.folder / "control"

    @property
    def prefix(self) -> str:
        """The beginning of the names of its namespaces, containers and control groups: its own, at each start."""
        return f"mip-{hashlib.sha256(os.fsencode(self.folder.resolve())).hexdigest()[:6]}"

    def load(self) -> Settings | None:
        """Return the settings, None where no sandbox has been."""
        try:
            kept = json.loads(self.settings.read_bytes())
            images = tuple(PublicImage(**(image | {"layers": tuple(image["layers"])})) for image in kept.pop("images"))
            return Settings(**kept, images=images)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "name another --dir, or remove the folder"
            raise MultieipError(f"{self.settings} is not a sandbox's: {error}", hint=hint) from error

    def make(self) -> None:
        """Make the folder: for its owner only, since user-data may be in it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def save(self, settings: Settings) -> None:
        """Keep settings."""
        self.make()
        aside = self.settings.with_suffix(".new")
        aside.write_text(json.dumps(asdict(settings), indent=2) + "\n")
        aside.replace(self.settings)


def environment(url: str, region: str, keys: Mapping[str, str], speed: float = 1.0) -> dict[str, str]:
    """Return the variables that lead clients to the sandbox: multieip, SDKs, the aliyun CLI, Terraform, Packer.

    Packer 1.6 has no option for an endpoint, and speaks HTTP to whatever proxy it is told of.
    """
    key, secret = next(iter(keys.items()))
    address = url.partition("://")[2]
    return {
        "MULTIEIP_ENDPOINT": url,
        "MULTIEIP_ECS_ENDPOINT": url,
        # Its clock decides how long a launch waits, and how many calls fit into a minute.
        "MULTIEIP_CLOCK": f"{speed:g}",
        "ALIBABA_CLOUD_ENDPOINT": address,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": key,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret,
        "ALIBABA_CLOUD_REGION_ID": region,
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALICLOUD_ACCESS_KEY": key,
        "ALICLOUD_SECRET_KEY": secret,
        "ALICLOUD_REGION": region,
        "HTTP_PROXY": url,
        "HTTPS_PROXY": url,
        # EIPs are asked directly, by clients that know this variable.
        "NO_PROXY": f"localhost,127.0.0.1,{EIPS}",
    }
