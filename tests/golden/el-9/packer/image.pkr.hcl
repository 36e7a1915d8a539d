# el-9: rendered by multieip 0.1.0 from an image spec; change the spec, not this file.
# Spec digest: 5f2943bbfc62481060b4dfd72329bc41ce082f99f91c347d53936484076e44c0

packer {
  required_version = ">= 1.6.6"
}

variable "image_name" {
  type        = string
  default     = ""
  description = "Name of the image; unique. Empty: the spec's name and the time of the build."
}

locals {
  image_name = var.image_name != "" ? var.image_name : format("%s-%s", "el-9", formatdate("YYYYMMDDhhmmss", timestamp()))
}

variable "source_image" {
  type        = string
  default     = ""
  description = "Id of the ECS image to start from; `multieip image build` looks the spec's family up."
}

source "alicloud-ecs" "golden" {
  region                      = "cn-shanghai"
  source_image                = var.source_image
  instance_type               = "ecs.g7.large"
  instance_name               = "multieip-builder-${local.image_name}"
  io_optimized                = true
  internet_charge_type        = "PayByTraffic"
  internet_max_bandwidth_out  = 10
  communicator                = "ssh"
  ssh_username                = "root"
  ssh_timeout                 = "15m"
  ssh_clear_authorized_keys   = true
  wait_snapshot_ready_timeout = 7200
  image_name                  = local.image_name
  image_description           = "Rocky Linux 9 that answers on many EIPs, for all regions"
  image_copy_regions          = ["cn-beijing", "ap-southeast-1"]
  image_copy_names            = [for region in ["cn-beijing", "ap-southeast-1"] : local.image_name]
  image_share_account         = ["1234567890123456"]

  system_disk_mapping {
    disk_category = "cloud_essd"
    disk_size     = 40
  }

  image_disk_mappings {
    disk_name                 = "data"
    disk_category             = "cloud_essd"
    disk_size                 = 100
    disk_delete_with_instance = true
  }

  tags = {
    "cost-center"      = "4711"
    "multieip:name"    = "el-9"
    "multieip:spec"    = "5f2943bbfc62481060b4dfd72329bc41"
    "multieip:version" = "0.1.0"
    "team"             = "network"
  }
}

build {
  sources = ["source.alicloud-ecs.golden"]

  provisioner "file" {
    source      = "${path.root}/payload.tar"
    destination = "/tmp/multieip-payload.tar"
  }

  provisioner "shell" {
    execute_command = "chmod 700 {{ .Path }} && {{ .Vars }} {{ .Path }}"
    scripts = [
      "${path.root}/provision/10-unpack.sh",
      "${path.root}/provision/20-packages.sh",
      "${path.root}/provision/30-rootfs.sh",
      "${path.root}/provision/40-kernel.sh",
      "${path.root}/provision/80-clean.sh",
      "${path.root}/provision/90-assert.sh",
    ]
  }

  post-processor "manifest" {
    output     = "packer-manifest.json"
    strip_path = true
    custom_data = {
      image_name  = local.image_name
      spec_sha256 = "5f2943bbfc62481060b4dfd72329bc41ce082f99f91c347d53936484076e44c0"
      multieip    = "0.1.0"
    }
  }
}
