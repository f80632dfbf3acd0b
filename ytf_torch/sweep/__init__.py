"""The sweep: masking the channels of a layer one by one, and what every step answers."""
