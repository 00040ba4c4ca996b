"""Speed as ratios to bare references on the same input in the same run."""
