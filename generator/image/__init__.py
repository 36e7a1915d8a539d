"""From rendered files to a golden image: base, Packer build, boot test, catalogue."""
