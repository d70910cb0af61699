//! An SQS with one queue that runs inside the test: HTTP on a free port of 127.0.0.1, calls of AWS's JSON protocol.
//!
//! Messages that are handed out are hidden for as long as was asked, as in the real one. Everything that was asked is recorded,
//! and any call can be made to fail, in whole or for its first entry.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// One request, as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// As `ReceiveMessage`.
    pub(crate) action: String,
    pub(crate) body: Value,
    /// The region that it was signed for.
    pub(crate) region: String,
}

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    visible_at: Instant,
    receives: u32,
}

impl Message {
    /// Stands for the last handing out.
    fn handle(&self) -> String {
        format!("{}#{}", self.id, self.receives)
    }
}

#[derive(Debug)]
struct Refusal {
    action: &'static str,
    code: &'static str,
    status: u16,
    times: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    sent: usize,
    deleted: Vec<String>,
    calls: Vec<Call>,
    refusals: Vec<Refusal>,
    /// So many first entries of `DeleteMessageBatch` fail.
    undeletable: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

/// A running server. Its threads end with the test's process.
pub(crate) struct SqsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl SqsServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&own);
                // A client that goes away in the middle is the client's affair.
                thread::spawn(move || serve(socket, &shared).ok());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/123456789012/flow-logs", self.address)
    }

    /// Puts a message into the queue, and says its id.
    pub(crate) fn send(&self, body: impl ToString) -> String {
        let mut state = self.lock();
        state.sent += 1;
        let id = format!("m-{}", state.sent);
        state.messages.push(Message {
            id: id.clone(),
            body: body.to_string(),
            visible_at: Instant::now(),
            receives: 0,
        });
        self.shared.arrived.notify_all();
        id
    }

    /// Answers a call with an error, so many times.
    pub(crate) fn refuse(
        &self,
        action: &'static str,
        code: &'static str,
        status: u16,
        times: usize,
    ) {
        self.lock().refusals.push(Refusal {
            action,
            code,
            status,
            times,
        });
    }

    /// So many times, the first message of a batch is not deleted.
    pub(crate) fn fail_deletes(&self, times: usize) {
        self.lock().undeletable = times;
    }

    /// Messages that are still there, handed out or not.
    pub(crate) fn left(&self) -> Vec<String> {
        let state = self.lock();
        state
            .messages
            .iter()
            .map(|message| message.id.clone())
            .collect()
    }

    /// Messages that nobody has at the moment.
    pub(crate) fn visible(&self) -> usize {
        let now = Instant::now();
        let state = self.lock();
        let is_visible = |message: &&Message| message.visible_at <= now;
        state.messages.iter().filter(is_visible).count()
    }

    /// In the order in which they were deleted.
    pub(crate) fn deleted(&self) -> Vec<String> {
        self.lock().deleted.clone()
    }

    /// How often a message was handed out.
    pub(crate) fn receives(&self, id: &str) -> u32 {
        let state = self.lock();
        let found = state.messages.iter().find(|message| message.id == id);
        found.map_or(0, |message| message.receives)
    }

    /// All calls of this name so far.
    pub(crate) fn calls(&self, action: &str) -> Vec<Call> {
        let state = self.lock();
        state
            .calls
            .iter()
            .filter(|call| call.action == action)
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

/// What a bucket sends when objects are created in it.
pub(crate) fn created(bucket: &str, keys: &[&str]) -> Value {
    let record = |key: &&str| {
        let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-03-10T08:00:00.000Z",
            "s3": {"bucket": {"name": bucket}, "object": {"key": key}}})
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

fn serve(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut writer = socket;
    while let Some(call) = read_call(&mut reader)? {
        let (status, body) = answer(&call, shared);
        let body = body.to_string();
        write!(
            writer,
            "HTTP/1.1 {status} As Told\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        )?;
    }
    Ok(())
}

fn answer(call: &Call, shared: &Shared) -> (u16, Value) {
    let mut state = shared.state.lock().unwrap();
    state.calls.push(call.clone());
    let refusal = state
        .refusals
        .iter_mut()
        .find(|refusal| refusal.action == call.action && refusal.times > 0);
    if let Some(refusal) = refusal {
        refusal.times -= 1;
        let body = json!({"__type": format!("com.amazonaws.sqs#{}", refusal.code), "message": "made to fail"});
        return (refusal.status, body);
    }
    let body = match call.action.as_str() {
        "ReceiveMessage" => receive(state, &call.body, shared),
        "DeleteMessageBatch" => {
            let fails = usize::from(state.undeletable > 0);
            state.undeletable -= fails;
            change(&mut state, &call.body, fails, |state, at, _| {
                let message = state.messages.remove(at);
                state.deleted.push(message.id);
            })
        }
        "ChangeMessageVisibilityBatch" => change(&mut state, &call.body, 0, |state, at, entry| {
            let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or_default();
            state.messages[at].visible_at = Instant::now() + Duration::from_secs(seconds);
        }),
        "GetQueueAttributes" => json!({"Attributes": {
            "QueueArn": "arn:aws:sqs:us-east-1:123456789012:flow-logs",
            "VisibilityTimeout": "30",
            "ApproximateNumberOfMessages": state.messages.len().to_string(),
            "ApproximateNumberOfMessagesNotVisible": "0",
            "RedrivePolicy": r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":5}"#,
        }}),
        other => panic!("the queue knows no `{other}`"),
    };
    (200, body)
}

fn receive(mut state: MutexGuard<'_, State>, body: &Value, shared: &Shared) -> Value {
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(number("WaitTimeSeconds"));
    let most = usize::try_from(number("MaxNumberOfMessages"))
        .unwrap()
        .max(1);
    loop {
        let now = Instant::now();
        let hidden = now + Duration::from_secs(number("VisibilityTimeout"));
        let found: Vec<Value> = state
            .messages
            .iter_mut()
            .filter(|message| message.visible_at <= now)
            .take(most)
            .map(|message| {
                message.receives += 1;
                message.visible_at = hidden;
                json!({"MessageId": message.id, "ReceiptHandle": message.handle(), "Body": message.body})
            })
            .collect();
        if !found.is_empty() {
            return json!({"Messages": found});
        }
        if now >= until {
            return json!({});
        }
        // A message may also become visible again.
        let next = state
            .messages
            .iter()
            .map(|message| message.visible_at)
            .fold(until, Instant::min);
        (state, _) = shared
            .arrived
            .wait_timeout(state, next.saturating_duration_since(now))
            .unwrap();
    }
}

/// Does something to each message that a batch names; the first `fails` are refused.
fn change(
    state: &mut State,
    body: &Value,
    fails: usize,
    mut each: impl FnMut(&mut State, usize, &Value),
) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (index, entry) in body["Entries"].as_array().unwrap().iter().enumerate() {
        let id = &entry["Id"];
        let handle = entry["ReceiptHandle"].as_str().unwrap();
        let at = state
            .messages
            .iter()
            .position(|message| message.handle() == handle)
            .filter(|_| index >= fails);
        match at {
            Some(at) => {
                each(state, at, entry);
                successful.push(json!({"Id": id}));
            }
            None => failed.push(
                json!({"Id": id, "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "made to fail"}),
            ),
        }
    }
    json!({"Successful": successful, "Failed": failed})
}

fn read_call(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let (mut length, mut action, mut region) = (0, String::new(), String::new());
    let mut any = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() && any {
            break;
        }
        any = true;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            // `AmazonSQS.ReceiveMessage`
            "x-amz-target" => action = value.rsplit('.').next().unwrap().to_owned(),
            // `AWS4-HMAC-SHA256 Credential=KEY/20260310/eu-west-1/sqs/aws4_request, …`
            "authorization" => region = value.split('/').nth(2).unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Call {
        action,
        body: serde_json::from_slice(&body).unwrap(),
        region,
    }))
}
