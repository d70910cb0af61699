//! A lake in a bucket, logs in another, the binary as a child process that can be killed at a request, and the check that all is well.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flowscout::lake::{Lake, LakeUri, Verify};

use crate::care::{clean, log, rows_of};
use crate::harness::{Ended, Place, block_on};
use crate::s3_server::S3Server;

pub(crate) const LAKE: &str = "s3://lake/l";

/// Commands with what they need.
pub(crate) const INGEST: &[&str] = &["ingest", "s3://logs/", "--lake", LAKE, "-q"];
pub(crate) const COMPACT: &[&str] = &["lake", "compact", "--lake", LAKE];
pub(crate) const EXPIRE: &[&str] = &[
    "lake",
    "expire",
    "--older-than",
    "2023-11-15",
    "--lake",
    LAKE,
];
pub(crate) const VACUUM: &[&str] = &[
    "lake", "vacuum", "--retain", "0s", "--force", "--lake", LAKE,
];

pub(crate) struct Bench {
    pub(crate) server: S3Server,
    pub(crate) place: Place,
}

/// How a child ended that was to be killed at a request.
pub(crate) enum Run {
    /// It was.
    Killed,
    /// It made fewer requests.
    Done(Ended),
}

impl Bench {
    pub(crate) fn new() -> Self {
        let server = S3Server::with_bucket("lake");
        server.create_bucket("logs", crate::s3_server::REGION);
        Self {
            server,
            place: Place::new(),
        }
    }

    /// Adds a log, whose rows are like no others.
    pub(crate) fn put_log(&self, number: usize) {
        let key = format!("{number:04}.log");
        self.server.put("logs", &key, log(number));
    }

    /// A lake of so many batches, one log each.
    pub(crate) fn with_batches(batches: usize) -> Self {
        let bench = Self::new();
        for number in 0..batches {
            bench.put_log(number);
            bench.run(INGEST).ok();
        }
        bench
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.place.run_with(&self.server, arguments)
    }

    /// Runs a command until its request of this number comes in, and kills it then, before the request has done anything.
    pub(crate) fn run_until(&self, arguments: &[&str], request: usize) -> Run {
        let child: Arc<Mutex<Option<Child>>> = Arc::default();
        let mut slot = child.lock().unwrap();
        let victim = Arc::clone(&child);
        self.server.at_request(request, move || {
            if let Some(child) = victim.lock().unwrap().as_mut() {
                child.kill().unwrap();
            }
        });
        let mut command = self.place.command(arguments);
        let command = self.server.apply(&mut command);
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut spawned = command.spawn().unwrap();
        let mut said = spawned.stderr.take().unwrap();
        *slot = Some(spawned);
        drop(slot);
        // To its end, however it comes; the child is not locked meanwhile.
        let mut stderr = String::new();
        said.read_to_string(&mut stderr).unwrap();
        let status = child.lock().unwrap().as_mut().unwrap().wait().unwrap();
        self.server.clear_hook();
        match status.code() {
            None => Run::Killed,
            code => Run::Done(Ended {
                code,
                stdout: String::new(),
                stderr,
            }),
        }
    }

    /// Runs a command of which the request of this number is never answered; nothing if it makes fewer.
    pub(crate) fn run_unanswered(&self, arguments: &[&str], request: usize) -> Option<Ended> {
        let was_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&was_asked);
        self.server
            .at_request(request, move || asked.store(true, Ordering::SeqCst));
        let ended = self.run(arguments);
        self.server.clear_hook();
        was_asked.load(Ordering::SeqCst).then_some(ended)
    }

    /// How many rows there are, by the log.
    pub(crate) fn count(&self) -> u64 {
        let settings = self.server.settings();
        block_on(async move {
            let uri = LakeUri::parse(LAKE).unwrap();
            let lake = Lake::open_with(&uri, &settings).await.unwrap();
            let snapshot = lake.snapshot().await.unwrap();
            snapshot.files().iter().map(|file| file.rows).sum()
        })
    }

    /// The rows there are. Nothing may be wrong with the lake.
    pub(crate) fn rows(&self) -> Vec<String> {
        let settings = self.server.settings();
        block_on(async move {
            let uri = LakeUri::parse(LAKE).unwrap();
            let lake = Lake::open_with(&uri, &settings).await.unwrap();
            clean(lake.verify(Verify::Deep).await.unwrap());
            rows_of(&lake).await
        })
    }
}
