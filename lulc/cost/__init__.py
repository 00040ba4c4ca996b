"""What a run costs: its work counted, a machine measured, time, memory and files from both."""
