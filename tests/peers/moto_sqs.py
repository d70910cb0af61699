"""Follows a queue that is not ours: moto's S3 tells moto's SQS of each object, and flowscout takes the messages.

Usage: moto_sqs.py FLOWSCOUT LOGS WORK    Exits with 1 if the rows are not those of the folder, or messages are left.
"""

import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

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
    options = {"endpoint_url": endpoint, "region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3, sqs, sns = boto3.client("s3", **options), boto3.client("sqs", **options), boto3.client("sns", **options)

    def run(*arguments):
        return subprocess.check_output([flowscout, *arguments], env=environment, text=True)

    def queue(name):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def waiting(url):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(int(count) for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())

    def upload(bucket):
        keys = 0
        for path in sorted((logs / "AWSLogs").rglob("*")):
            if path.is_file():
                s3.upload_file(str(path), bucket, "a b+c/" + str(path.relative_to(logs)))
                keys += 1
        return keys

    # Straight from the bucket, followed while objects arrive.
    url, arn = queue("straight")
    s3.create_bucket(Bucket="logs")
    events = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="logs", NotificationConfiguration=events)
    command = [flowscout, "ingest", url, "--bucket", "logs", "--follow", "--commit-every", "1s", "--lake", f"{work}/followed"]
    following = subprocess.Popen(command, env=environment)
    keys = upload("logs")
    deadline = time.monotonic() + 120
    while waiting(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    following.send_signal(signal.SIGTERM)
    code = following.wait(timeout=60)

    # Through SNS, emptied once.
    wrapped, arn = queue("wrapped")
    topic = sns.create_topic(Name="logs")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    s3.create_bucket(Bucket="copies")
    events = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="copies", NotificationConfiguration=events)
    upload("copies")
    run("ingest", wrapped, "--bucket", "copies", "--lake", f"{work}/drained")

    seen = {}
    run("ingest", str(logs / "AWSLogs"), "--lake", f"{work}/listed", "--quiet")
    for name in ["listed", "followed", "drained"]:
        seen[name] = run("sql", SQL, "--lake", f"{work}/{name}", "--format", "ndjson")
    run("doctor", "s3://logs/", url, "--lake", f"{work}/followed", "--format", "table")
    left = {"straight": waiting(url), "wrapped": waiting(wrapped)}
    server.stop()

    print(f"{keys} objects told of by moto, twice; left in the queues: {left}; stopped with {code}")
    for name, line in seen.items():
        print(f"{name:22} {line.strip()}")
    agree = len(set(seen.values())) == 1 and json.loads(seen["listed"])["rows"] > 0 and not any(left.values()) and code == 0
    print("they agree" if agree else "they do NOT agree")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
