"""Jobs on Slurm clusters: scripts, submission, staging of data, and the state of runs.

Only ``slurm/templates`` and what a user's site file says reach a job script; see docs/slurm.md.
"""
