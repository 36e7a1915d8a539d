"""The calls of the ECS product, version 2014-05-26."""
