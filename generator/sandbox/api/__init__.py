"""The RPC API of ECS and VPC: signatures, parameters, answers, and one module for each family of calls."""
