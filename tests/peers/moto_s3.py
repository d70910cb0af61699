"""Reads flow logs from, and keeps a lake on, an S3 service that is not ours: moto over HTTP.

Usage: moto_s3.py FLOWSCOUT LOGS WORK    Exits with 1 if the rows are not those of the folder.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys

import boto3
from moto.server import ThreadedMotoServer

SQL = "SELECT COUNT(*) AS rows, SUM(bytes) AS bytes, SUM(packets) AS packets, COUNT(DISTINCT interface_id) AS interfaces FROM flows"


def main():
    flowscout, logs, work = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def run(*arguments):
        return subprocess.check_output([flowscout, *arguments], env=environment, text=True)

    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    s3.create_bucket(Bucket="logs")
    s3.create_bucket(Bucket="lake")
    keys = 0
    for path in sorted((logs / "AWSLogs").rglob("*")):
        if path.is_file():
            s3.upload_file(str(path), "logs", "central/" + str(path.relative_to(logs)))
            keys += 1

    seen = {}
    run("ingest", str(logs / "AWSLogs"), "--lake", f"{work}/from-folder", "--quiet")
    seen["folder"] = run("sql", SQL, "--lake", f"{work}/from-folder", "--format", "ndjson")
    run("ingest", "s3://logs/central/", "--lake", f"{work}/from-s3", "--quiet")
    run("ingest", "s3://logs/central/", "--lake", f"{work}/from-s3", "--quiet")
    seen["S3, twice, to a folder"] = run("sql", SQL, "--lake", f"{work}/from-s3", "--format", "ndjson")
    run("ingest", "s3://logs/central/", "--lake", "s3://lake/flows", "--quiet")
    seen["S3 to S3"] = run("sql", SQL, "--lake", "s3://lake/flows", "--format", "ndjson")
    seen["sql --logs, S3"] = run("sql", SQL, "--logs", "s3://logs/central/", "--format", "ndjson")
    server.stop()

    print(f"{keys} objects through moto")
    for name, line in seen.items():
        print(f"{name:22} {line.strip()}")
    agree = len(set(seen.values())) == 1 and json.loads(seen["folder"])["rows"] > 0
    print("they agree" if agree else "they do NOT agree")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
