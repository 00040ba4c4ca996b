"""What an index does: items read where they changed, and the scenes of them that a run uses."""
