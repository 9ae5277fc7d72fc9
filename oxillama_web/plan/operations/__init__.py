"""The operations of a plan: one dataclass each, in modules by what they are for."""
