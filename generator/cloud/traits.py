"""What an image needs of an instance type, and what an account may still have: read before anything is made."""

from __future__ import annotations

from dataclasses import dataclass

from generator.cloud.client import Cloud
from generator.cloud.records import wrapped


@dataclass(frozen=True)
class Traits:
    """What decides whether an image boots on an instance type; `size` in GiB. Empty text is what the API leaves out."""

    id: str
    status: str
    architecture: str
    boot_mode: str
    nvme: str
    imds: str
    size: int
    cloud_init: bool


def of_image(cloud: Cloud, image: str) -> Traits | None:
    """Return the traits of an image, or None when the region has none of that id."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeImagesRequest(region_id=cloud.region, image_id=image, status="ALL", page_size=10)
    body = cloud.ecs.call(cloud.ecs.client.describe_images_with_options, request)
    for one in wrapped(body.images, "image"):
        if one.image_id == image:
            features = one.features
            return Traits(
                id=one.image_id,
                status=one.status or "",
                architecture=one.architecture or "",
                boot_mode=one.boot_mode or "",
                nvme=(features.nvme_support or "") if features else "",
                imds=(features.imds_support or "") if features else "",
                size=one.size or 0,
                cloud_init=one.is_support_cloudinit is not False,
            )
    return None


def eips_in_use(cloud: Cloud) -> int:
    """Return how many EIPs the account has in the region."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.DescribeEipAddressesRequest(region_id=cloud.region, page_number=1, page_size=10)
    body = cloud.vpc.call(cloud.vpc.client.describe_eip_addresses_with_options, request)
    return int(body.total_count or 0)


def enis_in_use(cloud: Cloud) -> int:
    """Return how many ENIs the account has in the region, primary ones included."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeNetworkInterfacesRequest(region_id=cloud.region, page_number=1, page_size=10)
    body = cloud.ecs.call(cloud.ecs.client.describe_network_interfaces_with_options, request)
    return int(body.total_count or 0)


def account_limits(cloud: Cloud) -> dict[str, int]:
    """Return what DescribeAccountAttributes tells of limits and use in the region, by its names; numbers only."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeAccountAttributesRequest(region_id=cloud.region)
    body = cloud.ecs.call(cloud.ecs.client.describe_account_attributes_with_options, request)
    found: dict[str, int] = {}
    for one in wrapped(body.account_attribute_items, "account_attribute_item"):
        values = wrapped(one.attribute_values, "value_item")
        if len(values) == 1 and str(values[0].value or "").isdigit():
            found[str(one.attribute_name)] = int(values[0].value)
    return found


def key_pair_exists(cloud: Cloud, name: str) -> bool:
    """Return whether the region has a key pair of that name."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeKeyPairsRequest(region_id=cloud.region, key_pair_name=name, page_size=10)
    body = cloud.ecs.call(cloud.ecs.client.describe_key_pairs_with_options, request)
    return any(one.key_pair_name == name for one in wrapped(body.key_pairs, "key_pair"))
