# Packer >= 1.7 has its builders in plugins; `packer init` installs these.
packer {
  required_plugins {
    alicloud = {
      version = "= 1.1.2"
      source  = "github.com/hashicorp/alicloud"
    }
    qemu = {
      version = ">= 1.1.0"
      source  = "github.com/hashicorp/qemu"
    }
  }
}
