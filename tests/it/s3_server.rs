//! An S3 that runs inside the test: HTTP on a free port of 127.0.0.1, SigV4, objects in memory.
//!
//! It keeps what the real one promises and file-backed stand-ins do not: ETags in listings, byte
//! order, markers such as `a/`, pages of at most 1,000 keys, conditional writes that are atomic,
//! `If-Match` on reads, redirects to a bucket's own region. Everything that was asked is recorded,
//! and any answer can be made to fail.

#![allow(
    dead_code,
    reason = "each test module uses its own part of the harness"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;
use flowscout::source::S3Settings;
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::{S3Auth, SecretKey};
use s3s::crypto::{Checksum, Md5};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI-EXAMPLE";
pub(crate) const REGION: &str = "us-east-1";

/// S3's own limit of keys in a page.
const MAX_PAGE: usize = 1000;

/// Chunks of a body, so that a reader sees more than one.
const CHUNK: usize = 64 * 1024;

/// A running server; it ends when this is dropped. Usable from synchronous tests and from any
/// runtime.
pub(crate) struct S3Server {
    store: Store,
    address: SocketAddr,
    service: S3Service,
    listening: Mutex<Option<JoinHandle<()>>>,
    runtime: Option<Runtime>,
}

/// One request, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// As `GetObject`.
    pub(crate) operation: &'static str,
    pub(crate) bucket: String,
    /// The object's key, a listing's prefix, or nothing.
    pub(crate) key: String,
    /// The region that the request was signed for.
    pub(crate) region: String,
    pub(crate) requester_pays: bool,
    pub(crate) start_after: Option<String>,
    pub(crate) range: bool,
    pub(crate) if_match: bool,
}

/// Makes requests fail.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Any, if none is named.
    operation: Option<&'static str>,
    bucket: Option<String>,
    key: Option<String>,
    effect: Effect,
    times: usize,
}

#[derive(Debug, Clone)]
enum Effect {
    Refuse {
        code: &'static str,
        status: u16,
    },
    /// The object is stored, and the answer is an error all the same.
    StoreThenRefuse {
        code: &'static str,
        status: u16,
    },
    CutBody {
        after: usize,
    },
    Delay(Duration),
    /// The body comes in small pieces, a pause between them.
    Trickle {
        piece: usize,
        pause: Duration,
    },
    /// The answer promises more than the body has.
    WrongLength,
    /// No answer, ever.
    Silence,
    /// The body stops after so many bytes, and the connection stays.
    StallBody {
        after: usize,
    },
}

/// Called when a request of some number comes in; the request gets no answer.
type Hook = Arc<dyn Fn() + Send + Sync>;

/// All that a server keeps, at some moment.
#[derive(Clone)]
pub(crate) struct Kept(BTreeMap<String, Bucket>);

impl Fault {
    /// Answers with this error and status.
    pub(crate) fn refuse(operation: &'static str, code: &'static str, status: u16) -> Self {
        Self::new(operation, Effect::Refuse { code, status })
    }

    /// Does what was asked for and answers with an error: the outcome is unknown to the client.
    pub(crate) fn store_then_refuse(
        operation: &'static str,
        code: &'static str,
        status: u16,
    ) -> Self {
        Self::new(operation, Effect::StoreThenRefuse { code, status })
    }

    /// Breaks the connection after so many bytes of the body of a `GetObject`.
    pub(crate) fn cut_body(after: usize) -> Self {
        Self::new("GetObject", Effect::CutBody { after })
    }

    /// Answers late.
    pub(crate) fn delay(operation: &'static str, pause: Duration) -> Self {
        Self::new(operation, Effect::Delay(pause))
    }

    /// Sends the body of a `GetObject` in pieces, with pauses.
    pub(crate) fn trickle(piece: usize, pause: Duration) -> Self {
        Self::new("GetObject", Effect::Trickle { piece, pause })
    }

    /// Promises a longer body of a `GetObject` than it sends.
    pub(crate) fn wrong_length() -> Self {
        Self::new("GetObject", Effect::WrongLength)
    }

    /// Takes the request and never answers.
    pub(crate) fn silence(operation: &'static str) -> Self {
        Self::new(operation, Effect::Silence)
    }

    /// Sends so many bytes of the body of a `GetObject`, and then nothing more.
    pub(crate) fn stall_body(after: usize) -> Self {
        Self::new("GetObject", Effect::StallBody { after })
    }

    /// Answers with this error to whatever is asked of a bucket.
    pub(crate) fn refuse_all(bucket: &str, code: &'static str, status: u16) -> Self {
        Self {
            operation: None,
            bucket: Some(bucket.to_owned()),
            ..Self::new("", Effect::Refuse { code, status })
        }
    }

    /// Only for this object, or listings of this prefix.
    pub(crate) fn on(self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }

    /// Only so many times; without this, for ever.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn new(operation: &'static str, effect: Effect) -> Self {
        Self {
            operation: Some(operation),
            bucket: None,
            key: None,
            effect,
            times: usize::MAX,
        }
    }
}

impl S3Server {
    /// Starts a server without buckets.
    pub(crate) fn start() -> Self {
        // Two providers are linked in; without a choice the first TLS configuration would panic.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        let store = Store(Arc::new(Mutex::new(Inner {
            page_size: MAX_PAGE,
            ..Inner::default()
        })));
        let mut builder = S3ServiceBuilder::new(store.clone());
        builder.set_auth(OneKey);
        let service = builder.build();
        // Bound without the runtime: a test may be asynchronous itself, and must not block on
        // another one.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket that does not block");
        let address = listener.local_addr().expect("bound");
        let listening = runtime.spawn(serve(listener, service.clone()));
        Self {
            store,
            address,
            service,
            listening: Mutex::new(Some(listening)),
            runtime: Some(runtime),
        }
    }

    /// Breaks all connections and lets nobody connect, until it [comes back](Self::come_back).
    pub(crate) fn go_away(&self) {
        let listening = self.listening.lock().unwrap().take();
        listening.expect("it is there").abort();
        // The socket is closed when the task has been dropped.
        while std::net::TcpStream::connect(self.address).is_ok() {
            std::thread::yield_now();
        }
    }

    pub(crate) fn come_back(&self) {
        let listener = std::net::TcpListener::bind(self.address).expect("nobody took the port");
        listener
            .set_nonblocking(true)
            .expect("a socket that does not block");
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        let listening = runtime.spawn(serve(listener, self.service.clone()));
        *self.listening.lock().unwrap() = Some(listening);
    }

    /// Starts a server with one bucket in [`REGION`].
    pub(crate) fn with_bucket(bucket: &str) -> Self {
        let server = Self::start();
        server.create_bucket(bucket, REGION);
        server
    }

    /// The server's URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settings for a [`flowscout::source::Source`] in the test's own process.
    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint_url: Some(self.endpoint()),
            region: Some(REGION.to_owned()),
            credentials: Some(credentials(ACCESS_KEY, SECRET_KEY)),
            ..S3Settings::default()
        }
    }

    /// What a child process needs to read and write here, and nowhere else: also for
    /// `object_store`, which wants to be told that plain HTTP is meant.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/nonexistent/config".to_owned()),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                "/nonexistent/credentials".to_owned(),
            ),
        ]
    }

    /// Points a child process here, whatever the developer's own environment says.
    pub(crate) fn apply<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        for name in [
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
            "AWS_ENDPOINT_URL_S3",
            "AWS_DEFAULT_REGION",
            "AWS_ROLE_ARN",
            "HTTP_PROXY",
            "http_proxy",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env())
    }

    pub(crate) fn create_bucket(&self, bucket: &str, region: &str) {
        let bucket = bucket.to_owned();
        self.lock().buckets.insert(
            bucket,
            Bucket {
                region: region.to_owned(),
                ..Bucket::default()
            },
        );
    }

    /// From now on requests without `x-amz-request-payer` are refused.
    pub(crate) fn set_requester_pays(&self, bucket: &str) {
        self.lock()
            .buckets
            .get_mut(bucket)
            .expect("bucket")
            .requester_pays = true;
    }

    /// Makes pages shorter than S3's, so that a few keys are enough to page.
    pub(crate) fn set_page_size(&self, keys: usize) {
        self.lock().page_size = keys.min(MAX_PAGE);
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        let mut inner = self.lock();
        inner
            .buckets
            .get_mut(bucket)
            .expect("bucket")
            .objects
            .insert(key.to_owned(), Stored::new(body.into()));
    }

    pub(crate) fn remove(&self, bucket: &str, key: &str) {
        self.lock()
            .buckets
            .get_mut(bucket)
            .expect("bucket")
            .objects
            .remove(key);
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.lock()
            .buckets
            .get(bucket)?
            .objects
            .get(key)
            .map(|stored| stored.body.clone())
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        self.lock()
            .buckets
            .get(bucket)
            .map(|bucket| bucket.objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    pub(crate) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Forgets what was asked, and calls `hook` when the request of this number, from 1, comes in; that one is never answered.
    pub(crate) fn at_request(&self, number: usize, hook: impl Fn() + Send + Sync + 'static) {
        let mut inner = self.lock();
        inner.requests.clear();
        inner.hook = Some((number, Arc::new(hook)));
    }

    pub(crate) fn clear_hook(&self) {
        self.lock().hook = None;
    }

    /// From now on conditions of writes are ignored, as by a store that does not know them.
    pub(crate) fn ignore_conditions(&self) {
        self.lock().ignores_conditions = true;
    }

    /// What is kept now, to be put back later.
    pub(crate) fn kept(&self) -> Kept {
        Kept(self.lock().buckets.clone())
    }

    pub(crate) fn put_back(&self, kept: &Kept) {
        let mut inner = self.lock();
        inner.buckets = kept.0.clone();
        inner.uploads.clear();
    }

    /// Everything that was asked since the start or the last
    /// [`forget_requests`](Self::forget_requests).
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.lock().requests.clear();
    }

    /// How often an operation, such as `ListObjectsV2`, was asked for.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.lock()
            .requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    }

    /// How often an object was fetched.
    pub(crate) fn gets(&self, bucket: &str, key: &str) -> usize {
        let is_it = |request: &&Recorded| {
            request.operation == "GetObject" && request.bucket == bucket && request.key == key
        };
        self.lock().requests.iter().filter(is_it).count()
    }

    /// How many keys all listings together have handed out.
    pub(crate) fn listed_keys(&self) -> usize {
        self.lock().listed_keys
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.store.lock()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // A runtime must not wait for its end inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn credentials(access_key: &str, secret_key: &str) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(access_key, secret_key, None, None, "test"))
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let http = Arc::new(auto::Builder::new(TokioExecutor::new()));
    // They end with this.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (http, service) = (Arc::clone(&http), service.clone());
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// Knows one key, and answers to others as AWS does.
struct OneKey;

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == ACCESS_KEY {
            return Ok(SECRET_KEY.into());
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

#[derive(Clone)]
struct Store(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, BTreeMap<i32, Bytes>>,
    next_upload: u64,
    page_size: usize,
    faults: Vec<Fault>,
    requests: Vec<Recorded>,
    listed_keys: usize,
    hook: Option<(usize, Hook)>,
    ignores_conditions: bool,
}

#[derive(Default, Clone)]
struct Bucket {
    region: String,
    requester_pays: bool,
    objects: BTreeMap<String, Stored>,
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    modified: SystemTime,
}

impl Stored {
    fn new(body: Bytes) -> Self {
        let etag = md5(&body);
        Self {
            body,
            etag,
            modified: SystemTime::now(),
        }
    }

    fn size(&self) -> i64 {
        i64::try_from(self.body.len()).expect("small")
    }

    fn etag(&self) -> Option<ETag> {
        Some(ETag::Strong(self.etag.clone()))
    }
}

/// What a fault does to an operation that may begin.
#[derive(Default)]
struct Disturbance {
    cut_after: Option<usize>,
    pieces: Option<(usize, Duration)>,
    wrong_length: bool,
    stall_after: Option<usize>,
    fail_afterwards: Option<S3Error>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Records the request, and refuses it where the bucket or a fault says so.
    async fn enter<T>(
        &self,
        operation: &'static str,
        request: &S3Request<T>,
        bucket: &str,
        key: &str,
    ) -> S3Result<Disturbance> {
        let header = |name| {
            request
                .headers
                .get(name)
                .and_then(|value: &_| value.to_str().ok())
                .map(str::to_owned)
        };
        let region = request
            .region
            .as_ref()
            .map(|region| region.as_str().to_owned())
            .unwrap_or_default();
        let query = request.uri.query().unwrap_or_default();
        let start_after = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "start-after")
            .map(|(_, value)| value.into_owned());
        let recorded = Recorded {
            operation,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            requester_pays: header("x-amz-request-payer").is_some(),
            range: header("range").is_some(),
            if_match: header("if-match").is_some(),
            start_after,
            region,
        };
        let hook = {
            let mut inner = self.lock();
            inner.requests.push(recorded.clone());
            let number = inner.requests.len();
            let due = inner.hook.take_if(|(at, _)| *at == number);
            due.map(|(_, hook)| hook)
        };
        if let Some(hook) = hook {
            hook();
            return futures::future::pending().await;
        }
        let effects = {
            let mut inner = self.lock();
            let Some(found) = inner.buckets.get(bucket) else {
                return Err(s3_error!(
                    NoSuchBucket,
                    "The specified bucket does not exist"
                ));
            };
            if recorded.region != found.region {
                return Err(elsewhere(&found.region));
            }
            if found.requester_pays && !recorded.requester_pays && operation != "HeadBucket" {
                return Err(s3_error!(AccessDenied, "Access Denied"));
            }
            let mut effects = Vec::new();
            for fault in &mut inner.faults {
                if fault.operation.is_none_or(|wanted| wanted == operation)
                    && fault.times > 0
                    && fault
                        .bucket
                        .as_deref()
                        .is_none_or(|wanted| wanted == bucket)
                    && fault.key.as_deref().is_none_or(|wanted| wanted == key)
                {
                    fault.times -= usize::from(fault.times != usize::MAX);
                    effects.push(fault.effect.clone());
                }
            }
            effects
        };
        let mut disturbance = Disturbance::default();
        for effect in effects {
            match effect {
                Effect::Refuse { code, status } => return Err(refusal(code, status)),
                Effect::StoreThenRefuse { code, status } => {
                    disturbance.fail_afterwards = Some(refusal(code, status))
                }
                Effect::CutBody { after } => disturbance.cut_after = Some(after),
                Effect::Delay(pause) => tokio::time::sleep(pause).await,
                Effect::Trickle { piece, pause } => disturbance.pieces = Some((piece, pause)),
                Effect::WrongLength => disturbance.wrong_length = true,
                Effect::Silence => return futures::future::pending().await,
                Effect::StallBody { after } => disturbance.stall_after = Some(after),
            }
        }
        Ok(disturbance)
    }

    fn stored(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let inner = self.lock();
        let bucket = inner
            .buckets
            .get(bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        bucket
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    /// Stores under the lock, so that of two conditional writers exactly one wins.
    fn store(
        &self,
        bucket: &str,
        key: &str,
        stored: Stored,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let mut inner = self.lock();
        let ignores_conditions = inner.ignores_conditions;
        let bucket = inner
            .buckets
            .get_mut(bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        let current = bucket.objects.get(key);
        let holds = |condition: &ETagCondition| match (condition, current) {
            (_, None) => false,
            (ETagCondition::Any, Some(_)) => true,
            (ETagCondition::ETag(etag), Some(current)) => etag.value() == current.etag,
        };
        let holds_not =
            if_match.is_some_and(|condition| !holds(condition)) || if_none_match.is_some_and(holds);
        if holds_not && !ignores_conditions {
            return Err(precondition());
        }
        bucket.objects.insert(key.to_owned(), stored);
        Ok(())
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = request.input.bucket.clone();
        self.enter("HeadBucket", &request, &bucket, "").await?;
        let bucket_region = self
            .lock()
            .buckets
            .get(&bucket)
            .map(|bucket| bucket.region.clone());
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region,
            ..Default::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let bucket = request.input.bucket.clone();
        self.enter("GetBucketLocation", &request, &bucket, "")
            .await?;
        let region = self
            .lock()
            .buckets
            .get(&bucket)
            .map(|bucket| bucket.region.clone())
            .filter(|region| region != "us-east-1");
        let location_constraint = region.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint,
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        let prefix = request.input.prefix.clone().unwrap_or_default();
        self.enter("ListObjectsV2", &request, &bucket, &prefix)
            .await?;
        let input = request.input;
        let mut inner = self.lock();
        let asked = input
            .max_keys
            .and_then(|keys| usize::try_from(keys).ok())
            .unwrap_or(MAX_PAGE);
        let page_size = asked.min(inner.page_size);
        let after = input
            .continuation_token
            .as_ref()
            .or(input.start_after.as_ref())
            .cloned()
            .unwrap_or_default();
        let start = if after.as_str() >= prefix.as_str() {
            Bound::Excluded(after.clone())
        } else {
            Bound::Included(prefix.clone())
        };
        let mut contents = Vec::new();
        let mut folders: Vec<String> = Vec::new();
        let mut last = String::new();
        let mut is_truncated = false;
        let found = inner
            .buckets
            .get(&bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        for (key, stored) in found
            .objects
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
        {
            let delimiter = input
                .delimiter
                .as_deref()
                .filter(|delimiter| !delimiter.is_empty());
            let folder = delimiter.and_then(|delimiter| {
                let length = key[prefix.len()..].find(delimiter)? + delimiter.len();
                Some(key[..prefix.len() + length].to_owned())
            });
            if folder
                .as_ref()
                .is_some_and(|folder| folders.last() == Some(folder) || *folder == after)
            {
                continue;
            }
            if contents.len() + folders.len() == page_size {
                is_truncated = true;
                break;
            }
            last.clone_from(folder.as_ref().unwrap_or(key));
            match folder {
                Some(folder) => folders.push(folder),
                None => contents.push(Object {
                    key: Some(key.clone()),
                    e_tag: stored.etag(),
                    size: Some(stored.size()),
                    last_modified: Some(Timestamp::from(stored.modified)),
                    ..Default::default()
                }),
            }
        }
        inner.listed_keys += contents.len();
        let common_prefixes = folders
            .into_iter()
            .map(|prefix| CommonPrefix {
                prefix: Some(prefix),
            })
            .collect::<Vec<_>>();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            max_keys: i32::try_from(page_size).ok(),
            is_truncated: Some(is_truncated),
            next_continuation_token: is_truncated.then_some(last),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            name: Some(bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let disturbance = self.enter("GetObject", &request, &bucket, &key).await?;
        let stored = self.stored(&bucket, &key)?;
        if let Some(ETagCondition::ETag(etag)) = &request.input.if_match
            && etag.value() != stored.etag
        {
            return Err(precondition());
        }
        let length = stored.body.len();
        let (body, content_range) = match request.input.range {
            None => (stored.body.clone(), None),
            Some(range) => {
                let range = range.check(length as u64)?;
                let (start, end) = (
                    usize::try_from(range.start).expect("small"),
                    usize::try_from(range.end).expect("small"),
                );
                (
                    stored.body.slice(start..end),
                    Some(format!("bytes {start}-{}/{length}", end - 1)),
                )
            }
        };
        let promised = body.len() + usize::from(disturbance.wrong_length) * 10;
        let body = match (disturbance.pieces, disturbance.stall_after) {
            (Some((piece, pause)), _) => trickle(body, piece, pause),
            (None, Some(after)) => stall(body, after),
            (None, None) => stream(body, disturbance.cut_after),
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(promised).ok(),
            content_range,
            body: Some(body),
            e_tag: stored.etag(),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("HeadObject", &request, &bucket, &key).await?;
        let stored = self.stored(&bucket, &key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.size()),
            e_tag: stored.etag(),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let disturbance = self.enter("PutObject", &request, &bucket, &key).await?;
        let input = request.input;
        let stored = Stored::new(collect(input.body).await?);
        let e_tag = stored.etag();
        self.store(
            &bucket,
            &key,
            stored,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        disturbance.fail_afterwards.map_or(Ok(()), Err)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("CopyObject", &request, &bucket, &key).await?;
        let CopySource::Bucket {
            bucket: from_bucket,
            key: from_key,
            ..
        } = &request.input.copy_source
        else {
            return Err(s3_error!(NotImplemented));
        };
        let stored = Stored {
            modified: SystemTime::now(),
            ..self.stored(from_bucket, from_key)?
        };
        let result = CopyObjectResult {
            e_tag: stored.etag(),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        };
        self.store(&bucket, &key, stored, None, None)?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("DeleteObject", &request, &bucket, &key).await?;
        if let Some(bucket) = self.lock().buckets.get_mut(&bucket) {
            bucket.objects.remove(&key);
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = request.input.bucket.clone();
        self.enter("DeleteObjects", &request, &bucket, "").await?;
        let mut deleted = Vec::new();
        let mut inner = self.lock();
        let found = inner
            .buckets
            .get_mut(&bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        for object in request.input.delete.objects {
            found.objects.remove(&object.key);
            deleted.push(DeletedObject {
                key: Some(object.key),
                ..Default::default()
            });
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("CreateMultipartUpload", &request, &bucket, &key)
            .await?;
        let mut inner = self.lock();
        inner.next_upload += 1;
        let upload_id = format!("upload-{}", inner.next_upload);
        inner.uploads.insert(upload_id.clone(), BTreeMap::new());
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(upload_id),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("UploadPart", &request, &bucket, &key).await?;
        let body = collect(request.input.body).await?;
        let e_tag = Some(ETag::Strong(md5(&body)));
        let mut inner = self.lock();
        let parts = inner
            .uploads
            .get_mut(&request.input.upload_id)
            .ok_or_else(|| s3_error!(NoSuchUpload))?;
        parts.insert(request.input.part_number, body);
        Ok(S3Response::new(UploadPartOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let disturbance = self
            .enter("CompleteMultipartUpload", &request, &bucket, &key)
            .await?;
        let input = request.input;
        let parts = self
            .lock()
            .uploads
            .get(&input.upload_id)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchUpload))?;
        let mut body = Vec::new();
        for part in input
            .multipart_upload
            .and_then(|upload| upload.parts)
            .unwrap_or_default()
        {
            let number = part.part_number.unwrap_or_default();
            body.extend_from_slice(parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?);
        }
        let mut stored = Stored::new(body.into());
        stored.etag = format!("{}-{}", stored.etag, parts.len());
        let e_tag = stored.etag();
        self.store(
            &bucket,
            &key,
            stored,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        self.lock().uploads.remove(&input.upload_id);
        disturbance.fail_afterwards.map_or(Ok(()), Err)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.enter("AbortMultipartUpload", &request, &bucket, &key)
            .await?;
        self.lock().uploads.remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The answer to a request that was signed for another region than the bucket's.
fn elsewhere(region: &str) -> S3Error {
    let mut headers = S3Response::new(()).headers;
    headers.insert(
        "x-amz-bucket-region",
        region.parse().expect("a region is a header value"),
    );
    let mut error = refusal("PermanentRedirect", 301);
    error.set_message(
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
    );
    error.set_headers(headers);
    error
}

fn refusal(code: &'static str, status: u16) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes())
        .unwrap_or_else(|| S3ErrorCode::Custom(code.into()));
    let mut error = S3Error::with_message(code, "made to fail");
    error.set_status_code(status.try_into().expect("a status"));
    error
}

fn precondition() -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold"
    )
}

fn stream(body: Bytes, cut_after: Option<usize>) -> StreamingBlob {
    let cut = cut_after.filter(|after| *after < body.len());
    let sent = body.slice(..cut.unwrap_or(body.len()));
    let chunks = (0..sent.len())
        .step_by(CHUNK)
        .map(move |at| Ok(sent.slice(at..sent.len().min(at + CHUNK))));
    let tail = cut.map(|_| Err(std::io::Error::other("made to break")));
    StreamingBlob::wrap(
        futures::stream::iter(chunks.chain(tail)).then(|part| async move {
            if part.is_err() {
                // What was sent before has to reach the client before the connection goes.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            part
        }),
    )
}

fn stall(body: Bytes, after: usize) -> StreamingBlob {
    let sent = body.slice(..after.min(body.len()));
    let sent = futures::stream::iter([Ok::<_, std::io::Error>(sent)]);
    StreamingBlob::wrap(sent.chain(futures::stream::pending()))
}

fn trickle(body: Bytes, piece: usize, pause: Duration) -> StreamingBlob {
    let pieces = (0..body.len())
        .step_by(piece)
        .map(move |at| body.slice(at..body.len().min(at + piece)));
    StreamingBlob::wrap(futures::stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(piece)
    }))
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    let chunks: Vec<Bytes> = body
        .try_collect()
        .await
        .map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
    Ok(chunks.concat().into())
}

fn md5(body: &[u8]) -> String {
    let mut hash = Md5::new();
    hash.update(body);
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
