"""The data plane: VPCs, ENIs, EIPs and metadata in network namespaces, and instances that boot in containers.

Needs root. Nothing is added to the machine's own namespace but named namespace handles under /run/netns.
"""
