# debian-12: rendered by multieip 0.1.0 from an image spec; change the spec, not this file.
# Spec digest: d8b73a30edea51dc4bde9d040bc7e815578704d1fa9a020303fec2d5f1aab8cd

packer {
  required_version = ">= 1.6.6"
}

variable "image_name" {
  type        = string
  default     = ""
  description = "Name of the image; unique. Empty: the spec's name and the time of the build."
}

locals {
  image_name = var.image_name != "" ? var.image_name : format("%s-%s", "debian-12", formatdate("YYYYMMDDhhmmss", timestamp()))
}

variable "source_image" {
  type        = string
  default     = ""
  description = "Id of the ECS image to start from; `multieip image build` looks the spec's family up."
}

source "alicloud-ecs" "golden" {
  region                      = "cn-hangzhou"
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
  image_description           = "Debian 12 that answers on many EIPs"

  system_disk_mapping {
    disk_category = "cloud_essd"
    disk_size     = 20
  }

  tags = {
    "multieip:name"    = "debian-12"
    "multieip:spec"    = "d8b73a30edea51dc4bde9d040bc7e815"
    "multieip:version" = "0.1.0"
    "team"             = "network"
  }
}

variable "base_image" {
  type        = string
  default     = ""
  description = "Disk image to start from; `multieip image build` makes or fetches it."
}

variable "base_checksum" {
  type        = string
  default     = "none"
  description = "sha256:… of the base image."
}

variable "seed" {
  type        = string
  default     = "seed"
  description = "Folder with user-data and meta-data of the build's own boot, and the key that it lets in."
}

variable "output" {
  type        = string
  default     = "output"
  description = "Folder to write the image to; it must not exist."
}

variable "accelerator" {
  type        = string
  default     = "tcg"
  description = "kvm where guests run in it, else tcg."
}

source "qemu" "golden" {
  accelerator          = var.accelerator
  cpus                 = 2
  memory               = 1024
  headless             = true
  disk_image           = true
  iso_url              = var.base_image
  iso_checksum         = var.base_checksum
  format               = "qcow2"
  disk_size            = "8192M"
  disk_interface       = "virtio"
  disk_discard         = "unmap"
  disk_detect_zeroes   = "unmap"
  net_device           = "virtio-net"
  boot_wait            = "1s"
  cd_files             = ["${var.seed}/user-data", "${var.seed}/meta-data"]
  cd_label             = "cidata"
  output_directory     = var.output
  vm_name              = "disk.qcow2"
  communicator         = "ssh"
  ssh_username         = "root"
  ssh_private_key_file = "${var.seed}/key"
  ssh_timeout          = "20m"
  shutdown_command     = "systemctl poweroff"
  shutdown_timeout     = "10m"
  qemuargs             = [["-serial", "file:${var.seed}/console.log"]]
}

build {
  sources = ["source.alicloud-ecs.golden", "source.qemu.golden"]

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
      spec_sha256 = "d8b73a30edea51dc4bde9d040bc7e815578704d1fa9a020303fec2d5f1aab8cd"
      multieip    = "0.1.0"
    }
  }
}
