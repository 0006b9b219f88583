"""What Millrace is beside other stream processors and ingest pipelines: speed, faults, and the same job for each."""
