"""The sections of params.yaml, a frozen dataclass each; stages/params.py reads and checks them."""
