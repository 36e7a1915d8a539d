"""The lab: the guest's files in a system that boots, in a VPC of namespaces, judged from packets."""
