"""Asks for the jobs by gRPC, over TLS where VITRINE_CA names an authority."""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "clients"))
import trace_by_grpc as example  # noqa: E402

jobs = example.Jobs(os.environ["VITRINE_GRPC"], os.environ["VITRINE_API_KEY"], os.environ.get("VITRINE_CA"))
print("listed", len(jobs.ListJobs(jobs.new("ListJobsRequest")).jobs))
