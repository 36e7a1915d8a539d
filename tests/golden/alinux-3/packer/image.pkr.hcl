# alinux-3: rendered by multieip 0.1.0 from an image spec; change the spec, not this file.
# Spec digest: b3e3f662aec5a5ad175c726d32067b5fe83f62ebf9a249b65f4e29b2cf087bb4

packer {
  required_version = ">= 1.6.6"
}

variable "image_name" {
  type        = string
  default     = ""
  description = "Name of the image; unique. Empty: the spec's name and the time of the build."
}

locals {
  image_name = var.image_name != "" ? var.image_name : format("%s-%s", "alinux-3", formatdate("YYYYMMDDhhmmss", timestamp()))
}

variable "source_image" {
  type        = string
  default     = ""
  description = "Id of the ECS image to start from; `multieip image build` looks the spec's family up."
}

source "alicloud-ecs" "golden" {
  region                      = "cn-beijing"
  zone_id                     = "cn-beijing-l"
  source_image                = var.source_image
  instance_type               = "ecs.g7.xlarge"
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
  image_description           = "Alibaba Cloud Linux 3 that answers on many EIPs, beside Terway"

  system_disk_mapping {
    disk_category = "cloud_essd"
    disk_size     = 40
  }

  tags = {
    "multieip:name"    = "alinux-3"
    "multieip:spec"    = "b3e3f662aec5a5ad175c726d32067b5f"
    "multieip:version" = "0.1.0"
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
      spec_sha256 = "b3e3f662aec5a5ad175c726d32067b5fe83f62ebf9a249b65f4e29b2cf087bb4"
      multieip    = "0.1.0"
    }
  }
}
