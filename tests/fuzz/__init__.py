"""Small files of every form that lulc reads, damaged at random: `python -m tests.fuzz`."""
