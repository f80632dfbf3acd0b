"""Repairs: from a backdoored network B to a repaired B′."""
