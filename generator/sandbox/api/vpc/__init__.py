"""The calls of the VPC product, version 2016-04-28."""
