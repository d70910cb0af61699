//! The binary while it runs: started, watched, told to stop; and what it is given to follow.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use flowscout::lake::{Lake, LakeUri};

use crate::harness::{Ended, Place, V2, flow, log};
use crate::s3_server::S3Server;
use crate::sqs_server::SqsServer;

/// Longer than anything takes on a busy machine: only a test that fails waits for so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A running child; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::<Mutex<String>>::default();
        let (pipe, lines) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = lines.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self {
            child,
            stderr,
            reader: Some(reader),
        }
    }

    /// A number of kilobytes that the system knows of it, such as `VmRSS`.
    #[cfg(target_os = "linux")]
    pub(crate) fn kilobytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let words = line.unwrap().split_whitespace();
        words.rev().nth(1).unwrap().parse().unwrap()
    }

    /// What it has written so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_until_it_says(&mut self, text: &str) {
        let started = Instant::now();
        while !self.stderr().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < DEADLINE,
                "never said `{text}` ({ended:?}): {}",
                self.stderr()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends `TERM`, `INT` or another.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "it does not end: {}",
                self.stderr()
            );
            thread::sleep(Duration::from_millis(20));
        };
        self.reader.take().unwrap().join().unwrap();
        Ended {
            code: status.code(),
            stdout: String::new(),
            stderr: self.stderr(),
        }
    }

    /// Asks for an orderly end, which has to come.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.end().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or is of no more use.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A log of so many rows.
pub(crate) fn rows(count: u16) -> Vec<u8> {
    let flows: Vec<_> = (0..count)
        .map(|number| flow("eni-1", ("10.0.0.1", 1024 + number), ("10.0.0.2", 443)))
        .collect();
    gzip(log(V2, &flows).as_bytes())
}

/// A log that was cut off.
pub(crate) fn cut(count: u16) -> Vec<u8> {
    let mut whole = rows(count);
    whole.truncate(whole.len() / 2);
    whole
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The key that AWS would give to a file of this time.
pub(crate) fn key(at: DateTime<Utc>, hash: &str) -> String {
    format!(
        "AWSLogs/123456789012/vpcflowlogs/us-east-1/{}/123456789012_vpcflowlogs_us-east-1_fl-0a_{}_{hash}.log.gz",
        at.format("%Y/%m/%d"),
        at.format("%Y%m%dT%H%MZ")
    )
}

pub(crate) fn ago(hours: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(hours)
}

/// Starts to follow, quickly.
pub(crate) fn follow(place: &Place, s3: &S3Server, source: &str, more: &[&str]) -> Running {
    let mut arguments = vec![
        "ingest", source, "--follow", "--lake", "lake", "--poll", "1s",
    ];
    if !more.contains(&"--commit-every") {
        arguments.extend(["--commit-every", "1s"]);
    }
    arguments.extend(more);
    let mut command = place.command(&arguments);
    Running::start(s3.apply(&mut command))
}

/// Rows that are in by now.
pub(crate) fn rows_in(place: &Place) -> u64 {
    let uri = LakeUri::parse(place.path("lake").to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // It may not have been created yet.
        let Ok(lake) = Lake::open(&uri).await else {
            return 0;
        };
        let snapshot = lake.snapshot().await.unwrap();
        snapshot.files().iter().map(|file| file.rows).sum()
    })
}

/// Starts to follow a queue, quickly.
pub(crate) fn follow_queue(
    place: &Place,
    s3: &S3Server,
    queue: &SqsServer,
    more: &[&str],
) -> Running {
    let arguments: Vec<&str> = ["--bucket", "logs"].iter().chain(more).copied().collect();
    follow(place, s3, &queue.url(), &arguments)
}
